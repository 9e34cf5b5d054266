"""An option of another program is an error that names the equivalent. One file provides the error and the docs."""

import re
import shlex
from pathlib import Path

import pytest

from tench.cli.commands import COMMANDS, forms
from tench.cli.main import main
from tench.cli.options import options_of
from tench.cli.other_programs import OptionRow, Program, filled, programs
from tench.cli.parse import parse

DOCS = Path(__file__).parents[2] / "docs"
ROWS = [(program, row) for program in programs() for row in program.options]


def there(one: Program | OptionRow) -> str:
    """The test id of a parameter."""
    return one.there if isinstance(one, OptionRow) else one.program


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("train --gpu 1", "pytorch/examples' --gpu is --device in tench: --device cuda:1"),
        ("train data.rec --test-io 1", "MXNet's --test-io is another command in tench: tench bench input data.rec"),
        ("train --test-io 1 data.rec", "MXNet's --test-io is another command in tench: tench bench input data.rec"),
        ("train --benchmark=1", "MXNet's --benchmark is another command in tench: tench bench train"),
        (
            "train --network resnet --num-layers 110",
            "MXNet's --network and --num-layers are -a in tench: -a mxnet:resnet-110",
        ),
        ("train --network mlp", "MXNet's --network is -a in tench: -a mxnet:mlp"),
        (
            "train --gpus 1",
            "edgeailite's and MXNet's --gpus is --device in tench: --device cuda:1 (Training uses one device.)",
        ),
        (
            "train --gpus 0,1 --kv-store device",
            "MXNet's --gpus is --device in tench: --device cuda:0 (Training uses one device.)\n"
            "MXNet's --kv-store has no equivalent in tench. Training uses one device.",
        ),
        ("train --dummy", "pytorch/examples' --dummy is the source synthetic in tench: tench train synthetic"),
        (
            "train --resume model.pth --run 'my run'",
            "pytorch/examples', torchvision's, timm's and edgeailite's --resume is --run in tench: --run 'my run' (The "
            "same command with the same --run continues the run.)",
        ),
        (
            "train --pretrained -a resnet50 photos",
            "pytorch/examples' --pretrained is --weights in tench: --weights torchvision:resnet50\n"
            "timm's --pretrained is --weights in tench: --weights timm:ARCH",
        ),
        (
            "train --pretrained model.pth",
            "pytorch/examples' --pretrained is --weights in tench: --weights torchvision:ARCH\n"
            "timm's --pretrained is --weights in tench: --weights timm:ARCH\n"
            "edgeailite's --pretrained is --weights in tench: --weights model.pth",
        ),
        (
            "train --train_dir here",
            "NNabla's --train-dir is SOURCE in tench: tench train here (The folder, the archives, or the lists.)\n"
            "Slim's --train_dir is --run in tench: --run here",
        ),
        (
            "train --dataset_name imagenet_classification --data_path 'my data' --img_crop 32",
            "edgeailite's --dataset_name is SOURCE in tench: tench train 'my data' (The layout of the source is "
            "detected.)\n"
            "edgeailite's --data_path is SOURCE in tench: tench train 'my data'\n"
            "edgeailite's --img_crop is --image-size in tench: --image-size 32",
        ),
        (
            "train -C cfg/cos90.yaml",
            "NNabla's -C is --recipe in tench: --recipe cos90 (NNabla's base_lr is per image: multiply it "
            "by the batch size to get --lr.)",
        ),
        ("train -t half", "NNabla's -t is --precision in tench: --precision fp16"),
        ("train -e", "pytorch/examples' -e is another command in tench: tench evaluate RUN [SOURCE]"),
        ("train -e 90", "NNabla's -e is --epochs in tench: --epochs 90"),
        (
            "train photos --evaluate",
            "pytorch/examples' --evaluate is another command in tench: tench evaluate RUN photos",
        ),
        (
            "train 'my photos' -e --run runs/001",
            "pytorch/examples' -e is another command in tench: tench evaluate runs/001 'my photos'",
        ),
        (
            "train photos -e --run runs/001 --val other",
            "pytorch/examples' -e is another command in tench: tench evaluate runs/001 other",
        ),
        (
            "train -e --pretrained -a resnet50 photos",
            "pytorch/examples' -e and --pretrained are another command in tench: tench evaluate torchvision:resnet50 "
            "photos",
        ),
        (
            "train --image-shape 3,224,224",
            "MXNet's --image-shape is --image-size in tench: --image-size 224 --channels 3",
        ),
        (
            "train --rgb-mean 123.68,116.779,103.939",
            "MXNet's --rgb-mean is --mean in tench: --mean 0.485 0.458 0.4076",
        ),
        (
            "train --image_scale 0.017125 0.017507 0.017429",
            "edgeailite's --image_scale is --std in tench: --std 0.229 0.224 0.225",
        ),
        (
            "train --lr-step-epochs 30,60",
            "MXNet's --lr-step-epochs is --schedule in tench: --schedule step --milestones 30 60",
        ),
        (
            "train --lr-step-epochs pow2",
            "MXNet's --lr-step-epochs pow2 is --schedule polynomial --power 2 in tench",
        ),
        (
            "train --optimizer adam",
            "edgeailite's --optimizer adam is --optimizer adamw in tench (tench has no plain Adam.)",
        ),
        (
            "train --random-crop 1 --pad-size 4",
            "MXNet's --random-crop and --pad-size are --train-view in tench: --train-view mxnet --mxnet-parameters "
            "'rand_crop=1 pad=4'",
        ),
        (
            "train --resize 256",
            "im2rec's --resize is --short-side of the command prepare in tench: tench prepare ... --short-side 256 "
            "--enlarge",
        ),
        (
            "prepare photos out --resize 256 --num-thread 4 --color 0",
            "im2rec's --resize is --short-side in tench: --short-side 256 --enlarge\n"
            "im2rec's --num-thread is -j in tench: -j 4\n"
            "im2rec's --color 0 is --grey in tench",
        ),
        (
            "prepare photos out --train_shards 64 --validation_shards 8",
            "build_imagenet_data.py's --train_shards and --validation_shards are --shards in tench: --shards 64 8",
        ),
        (
            "evaluate --pretrained -a resnet18 photos",
            "pytorch/examples' --pretrained is RUN in tench: tench evaluate torchvision:resnet18 photos",
        ),
        (
            "bench models --network resnet-50",
            "MXNet benchmark_score.py's --network is PATTERN in tench: tench bench models resnet-50",
        ),
        ("train --gpu", "pytorch/examples' --gpu is --device in tench: --device cuda:1"),
        (
            "train --rank 3 --epochss 2",
            "pytorch/examples' --rank has no equivalent in tench. Training uses one device.\n"
            "unknown option --epochss. Did you mean --epochs? See tench train --help.",
        ),
    ],
)
def test_the_error_about_another_programs_option_names_its_equivalent(
    line: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(line)
    assert main(words) == 2
    assert capsys.readouterr() == ("", f"tench {words[0]}: {error}\n")


def parsed(command: str, arguments: list[str]) -> None:
    """Read the arguments as `tench COMMAND` does."""
    kind = forms(command.split()[0])[command]
    positionals = [option for option in options_of(kind) if option.flag.positional]
    required = [option.name for option in positionals if not isinstance(option.default, str | tuple | type(None))]
    parse(kind, [*required, *arguments], command=command)


@pytest.mark.parametrize(
    ("program", "row"), [pair for pair in ROWS if pair[1].here], ids=lambda one: getattr(one, "there", "")
)
def test_every_equivalent_is_a_command_that_can_be_parsed(program: Program, row: OptionRow) -> None:
    examples = {name: value.split() for other in program.options for name, value in other.examples.items() if value}
    example = next(iter(row.examples.values()), "").split()
    words = shlex.split(filled(row.here, example, examples | {"--train-shards": ["4"], "--validation-shards": ["2"]}))
    words = [{"N": "8", "X": "9"}.get(word, word) for word in words]
    if words[0] != "tench":
        parsed(program.command, words)
        return
    command = next(name for name in (" ".join(words[1:3]), words[1]) if name in forms(words[1]))
    parse(forms(words[1])[command], words[1 + len(command.split()) :], command=command)


@pytest.mark.parametrize(
    ("program", "row"), [pair for pair in ROWS if pair[1].same], ids=lambda one: getattr(one, "there", "")
)
def test_options_that_are_said_to_be_the_same_exist(program: Program, row: OptionRow) -> None:
    known = {name for option in options_of(forms(program.command.split()[0])[program.command]) for name in option.names}
    known |= {"--no-shuffle"}
    assert set(row.examples) <= known


@pytest.mark.parametrize(("program", "row"), ROWS, ids=there)
def test_every_row_has_an_equivalent_or_a_note_and_names_a_command(program: Program, row: OptionRow) -> None:
    assert program.command.split()[0] in COMMANDS
    assert row.here or row.note or row.same
    assert not row.note or re.match(r"[A-Z.].*\.$|tench .*\.$", row.note)


def test_the_documentation_lists_every_option() -> None:
    for program in programs():
        if program.page:
            text = (DOCS / program.page).read_text(encoding="utf-8")
            assert f"### {program.heading}\n" in text
            section = text.split(f"### {program.heading}\n")[1].split("\n### ")[0]
            for row in program.options:
                assert all(part.replace("-", "_") in section.replace("-", "_") for part in row.there.split(", "))
