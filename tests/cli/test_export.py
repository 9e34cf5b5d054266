import os
import signal
from pathlib import Path

from tests.support.processes import run_python

import tench


def test_a_terminated_export_leaves_nothing(tmp_path: Path) -> None:
    """The process ends when the last of the files is about to be written."""
    tench.fit("digits", tench.load_recipe("digits").replace(epochs=1), run=tmp_path / "run")
    code = """
        import os, signal, sys
        from tench.cli.main import main
        from tench.exporting import export

        export.complete_file = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(main(["export", "run", "d.onnx", "--verify", "10"]))
    """
    done = run_python(code, cwd=tmp_path)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert os.listdir(tmp_path) == ["run"]
