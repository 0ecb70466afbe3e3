"""Make the table of look-alikes from the trained models in the wheels: ``python make_look_alikes.py``."""

import json

from look_alikes import TABLE, summary
from real_models import MODELS, real_weights, source


def write_table() -> None:
    """Write the table of ``look_alikes``."""
    if absent := [name for name in MODELS if source(name) != "wheel"]:
        raise SystemExit(f"no wheel for {', '.join(absent)}")
    models = [
        f'"{name}": {{\n'
        + ",\n".join(f'  "{weight}": {json.dumps(entry)}' for weight, entry in summary(real_weights(name)).items())
        + "\n}"
        for name in MODELS
    ]
    TABLE.write_text("{\n" + ",\n".join(models) + "\n}\n")


if __name__ == "__main__":
    write_table()
