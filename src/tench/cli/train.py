"""`tench train`: train a classifier. Every setting of a recipe is an option."""

import dataclasses
from typing import Annotated, ClassVar

from tench.cli.options import options_of
from tench.cli.parse import parse, sort_words
from tench.errors import UsageError
from tench.flags import Flag
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe, with_sizes_in_proportion


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Train a classifier into a run directory.

    Running the same command again with the same --run continues where it stopped. The defaults shown apply without a
    recipe; without SOURCE the recipe is `digits`. Examples:

        tench train                                    handwritten digits, a minute
        tench train ~/cifar10 --recipe cifar-resnet
        tench train ~/flowers -a resnet50 --epochs 30 -b 64 --lr 0.05 --run runs/flowers
        tench train ~/flowers --recipe finetune10 --weights torchvision:resnet50 -b 64 --lr 0.064
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "Data": "source val val-per-class | with",
        "Network": "arch weights image-size",
        "Training": "recipe epochs batch-size lr",
        "Run": "run device threads | print-freq save-every tensorboard trust-code",
    }

    source: Annotated[str | None, Flag(metavar="SOURCE", positional=True)] = None
    """The dataset: a path, digits or synthetic. By default digits, or the source of the run to continue."""
    with_: Annotated[tuple[str, ...], Flag(name="with", metavar="SOURCE", repeated=True)] = ()
    """Another source to merge with SOURCE. Classes are matched by id. May be given several times."""
    val: Annotated[str | None, Flag(metavar="SOURCE")] = None
    """Another source to validate on. Its classes are matched by id."""
    recipe: Annotated[str | None, Flag(metavar="NAME")] = None
    """Packaged recipe (see tench recipes) or YAML file. Other options override it."""
    run: Annotated[str | None, Flag(metavar="DIR")] = None
    """Run directory; by default a new one under runs/."""
    device: Annotated[str, Flag(metavar="DEVICE")] = "auto"
    """auto, cpu, cuda or cuda:1. auto is the GPU if there is one."""
    threads: Annotated[int, Flag(aliases=("-j", "--workers"))] = 0
    """Threads that prepare images; 0 is one per core."""
    print_freq: Annotated[int, Flag(aliases=("-p",))] = 100
    """Steps between lines of metrics.jsonl."""
    save_every: float = 600.0
    """Seconds between checkpoints within an epoch. One is also saved at the end of each epoch."""
    tensorboard: bool = False
    """Also write a TensorBoard log to RUN/tensorboard; view it with tensorboard --logdir runs."""
    trust_code: bool = False
    """Import your own code if only the recipe, run or weights name it. Importing runs the code. Code named in this
    command (-a, --loss, --policy or --augment-batch package.module:function) is always imported."""
    values: Recipe = dataclasses.field(default_factory=Recipe)


def run(arguments: list[str]) -> int:
    asked = parse(Train, arguments)
    if asked.with_ and asked.source is None:
        raise UsageError("--with adds to SOURCE, which is missing. Usage: tench train SOURCE --with SOURCE.")
    from tench.files import shell_command
    from tench.models.own_network import is_own
    from tench.training.fit import default_recipe, fit
    from tench.training.options import TrainOptions
    from tench.training.own_parts import own_code
    from tench.training.schedule import num_epochs
    from tench.weights.own import read_card

    named = asked.values  # values named in this command, before the recipe is loaded
    defaults = load_recipe(asked.recipe) if asked.recipe else default_recipe(asked.run, asked.source)
    asked = parse(Train, arguments, Train(values=defaults))  # again, so that flags override the recipe's values
    given = {option.path[-1] for option, _ in sort_words(options_of(Train), arguments).given}
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
    if "top1" in best and "epoch" in best:  # an edited card may lack them
        print(f"Best top-1 on {where}: {best['top1']:.2%}, after epoch {best['epoch']} of {num_epochs(asked.values)}.")
    folder, trust = finished.folder.absolute(), ["--trust-code"] if is_own(card.arch) else []
    print(f"Use it: {shell_command('tench', 'evaluate', *trust, folder)}")
    print(f"        {shell_command('tench', 'predict', *trust, folder, 'IMAGE')}")
    return 0
