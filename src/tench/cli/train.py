"""`tench train`: the recipe's fields are the flags."""

import dataclasses
from typing import Annotated, Any

import tyro

from tench.cli.parse import parse
from tench.errors import UsageError
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe, with_sizes_in_proportion

Text = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Train a classifier and leave a run directory.

    The same command given again on the same --run continues where it stopped. The defaults shown are those without a
    recipe; with no SOURCE the recipe is `digits`. Examples:

        tench train                                    handwritten digits, a minute
        tench train ~/cifar10 --recipe cifar-resnet
        tench train ~/flowers -a resnet50 --epochs 30 -b 64 --lr 0.05 --run runs/flowers
        tench train ~/flowers --recipe finetune10 --weights torchvision:resnet50 -b 64 --lr 0.064
    """

    source: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[SOURCE]")] = None
    """Path of the dataset, or digits or synthetic; none: digits, or what the run was begun with."""
    with_: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="with", metavar="SOURCE", help_behavior_hint="")
    ] = ()
    """One more source that makes one set with SOURCE, classes united by id; may be given several times."""
    val: Text = None
    """Another source to validate on; its classes are matched by id."""
    recipe: Text = None
    """A packaged recipe (see tench recipes) or a YAML file; the other flags override it."""
    run: Text = None
    """Run directory; none: a new numbered one under runs/."""
    evaluate: Annotated[bool, tyro.conf.arg(aliases=["-e"]), tyro.conf.FlagCreatePairsOff] = False
    """Only evaluate the best weights of --run (on --val, SOURCE, or what it validated on), then exit. Goes with
    --device, -j, -b and --bad; other options are refused."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1; auto is the GPU if there is one."""
    threads: Annotated[int, tyro.conf.arg(aliases=["-j", "--workers"])] = 0
    """Threads that prepare images; 0: one for each core."""
    print_freq: Annotated[int, tyro.conf.arg(aliases=["-p"])] = 100
    """Steps between two log lines in metrics.jsonl."""
    save_every: float = 600.0
    """Seconds between two checkpoints within an epoch; there is always one at its end."""
    tensorboard: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write the log for TensorBoard too, into RUN/tensorboard; see it with tensorboard --logdir runs."""
    trust_code: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Import code of your own that only the recipe, run or weights name. Importing runs it. What this command names
    (-a, --loss, --policy or --augment-batch package.module:function) is always imported."""
    values: Annotated[Recipe, tyro.conf.arg(name="recipe")] = dataclasses.field(default_factory=Recipe)


def run(arguments: list[str]) -> int:
    asked = parse(Train, arguments)
    if asked.with_ and asked.source is None:
        raise UsageError("--with adds to a source. Name that one too: tench train SOURCE --with SOURCE.")
    if asked.evaluate:
        return _evaluate(asked, arguments)
    from tench.files import shell_command
    from tench.models.own_network import is_own
    from tench.training.fit import default_recipe, fit
    from tench.training.options import TrainOptions
    from tench.training.own_parts import own_code
    from tench.training.schedule import num_epochs
    from tench.weights.own import read_card

    named = asked.values  # by this command, so far without a recipe's values
    defaults = load_recipe(asked.recipe) if asked.recipe else default_recipe(asked.run, asked.source)
    asked = parse(Train, arguments, Train(values=defaults))  # again, so that flags override the recipe's values
    given = [argument.partition("=")[0].strip("-").replace("-", "_") for argument in arguments]
    recipe = with_sizes_in_proportion(asked.values, defaults, given)
    options = TrainOptions(
        device=asked.device,
        threads=asked.threads,
        log_every=asked.print_freq,
        save_every_seconds=asked.save_every,
        tensorboard=asked.tensorboard,
        trust_code=asked.trust_code,
    )
    own = own_code(named, trust_code=asked.trust_code)
    source = asked.source if asked.source is None or not asked.with_ else (asked.source, *asked.with_)
    finished = fit(source, recipe, val=asked.val, run=asked.run, options=options, **own)
    card = read_card(finished.folder)
    best, where = card.metrics, card.trained_on.get("val_name", "validation")
    if "top1" in best and "epoch" in best:  # a card that was changed may lack them
        print(f"Best top-1 on {where}: {best['top1']:.2%}, after epoch {best['epoch']} of {num_epochs(asked.values)}.")
    folder, trust = finished.folder.absolute(), ["--trust-code"] if is_own(card.arch) else []
    print(f"Use it: {shell_command('tench', 'evaluate', *trust, folder)}")
    print(f"        {shell_command('tench', 'predict', *trust, folder, 'IMAGE')}")
    return 0


def _evaluate(asked: Train, arguments: list[str]) -> int:
    from tench.cli import evaluate

    if asked.run is None:
        raise UsageError("-e evaluates a run: name it with --run DIR.")
    if refused := _changed(asked):
        raise UsageError(
            f"-e evaluates the weights of --run as they are and does not take {', '.join(refused)}. Leave that out; it "
            "takes SOURCE or --val, --device, -j, -b and --bad."
        )
    source = asked.val or asked.source
    options = ["--device", asked.device, "-j", str(asked.threads), "-b", str(asked.values.training.batch_size)]
    if any(argument.partition("=")[0] == "--bad" for argument in arguments):  # else as the training did
        options += ["--bad", asked.values.input.bad]
    return evaluate.run([asked.run, *([source] if source else []), *options])


_EVALUATED = {"source", "val", "run", "evaluate", "device", "threads", "batch-size", "bad"}
"""What -e passes on, and what asks for it."""


def _changed(asked: Train) -> list[str]:
    """The options that are not as they are by default, without those that an evaluation takes."""

    def values(of: Train) -> dict[str, Any]:
        own = {name: value for name, value in vars(of).items() if name != "values"}
        all_of_them = own | {name.rpartition(".")[2]: value for name, value in of.values.leaves()}
        return {name.strip("_").replace("_", "-"): value for name, value in all_of_them.items()}

    default = values(Train())
    return [f"--{name}" for name, value in values(asked).items() if name not in _EVALUATED and value != default[name]]
