"""A made-up report and pictures, to try the page on; no figure in it was measured."""

from typing import Any

import numpy as np

from simulators.report.blocks import Picture

SYSTEMS = ("weldfusion", "MMAE", "MMVAE", "MMCF")
QUALITY = {"weldfusion": 0.0, "MMAE": 0.07, "MMVAE": 0.12, "MMCF": 0.04}  # what is lost
MODALITIES = ("camera", "kinematics")
FAULTS = {
    "camera.occlusion": ("upstream", 74.0, 1.0),
    "camera.blur": ("upstream", 31.0, 1.0),
    "camera.brightness": ("upstream", 9.4, 0.88),
    "camera.dust": ("upstream", 6.1, 0.68),
    "camera.frozen": ("sensor", 11.0, 0.93),
    "camera.black": ("sensor", 52.0, 0.99),
    "camera.salt_and_pepper": ("sensor", 61.0, 1.0),
    "kinematics.drift": ("sensor", 4.2, 0.72),
    "kinematics.gain": ("sensor", 12.0, 0.77),
    "kinematics.noise": ("sensor", 38.0, 1.0),
    "kinematics.offset": ("sensor", 15.0, 0.7),
    "kinematics.periodic": ("upstream", 21.0, 0.9),
    "kinematics.stuck": ("sensor", 17.0, 0.98),
}
EFFECTS = {"<1": 0.12, "1–2": 0.41, "2–4": 0.66, "4–8": 0.87, "≥8": 0.985}
ERRORS = {
    "camera": {"floor": 0.0025, "corrected": 0.0047, "uncorrected": 0.0070, "mean": 0.0112},
    "kinematics": {"floor": 0.0045, "corrected": 0.0230, "uncorrected": 0.0329, "mean": 0.61},
}


def example_report() -> dict[str, Any]:
    """Every key that the page knows, with plausible figures."""
    return {
        "title": "welding-single on eight unseen trajectories",
        "command": (
            "weldfusion evaluate model/pretrained/welding-single.safetensors "
            "--data 'test.mcap#0-7' --seed 1 --html build/report.html"
        ),
        "model": {"name": "welding-single", "hash": "sha256:5f0c6a1e9b7d4c3a8e2f"},
        "data": ["test.mcap#0-7"],
        "machine": "one core with AVX2",
        "seed": 1,
        "episodes": 8,
        "counts": {"clean": 7198, "faulty": 3690, "left_out": 214},
        "held_out": ["camera.dust", "kinematics.drift"],
        "systems": {name: _system(lost) for name, lost in QUALITY.items()},
    }


def example_pictures(size_px: int = 128) -> list[Picture]:
    """A soft scene, the same with a dark patch, and the patch half gone."""
    down, across = np.mgrid[0:size_px, 0:size_px] / size_px
    scene = np.stack([across, down, 0.5 + 0.4 * np.sin(9 * across * down)], axis=2)
    hidden = ((across - 0.6) ** 2 + (down - 0.4) ** 2 < 0.04)[..., None]
    shown = {
        "Before": (scene, "what the camera should have seen"),
        "camera.occlusion": (np.where(hidden, 0.1, scene), "severity 0.5, effect 74"),
        "After correction": (np.where(hidden, 0.8 * scene, scene), "decoded from the latents"),
    }
    return [
        Picture(title=title, caption=caption, rgb=(255 * values).astype(np.uint8))
        for title, (values, caption) in shown.items()
    ]


def _system(lost: float) -> dict[str, Any]:
    return {
        "clean_false_alarms": {
            "0.01": {"share": 0.0142 + lost / 20, "interval": (0.0097, 0.0199 + lost / 10)},
            "0.001": {"share": 0.0013, "interval": (0.0004, 0.0026)},
        },
        "protocols": {"A": _protocol(lost), "B": _protocol(lost + 0.015)},
        "events": {
            "found": round(118 * (1 - 2 * lost)),
            "of": 126,
            "found_strong": round(80 * (1 - lost)),
            "of_strong": 80,
            "delay_p50_s": 0.31 + lost,
            "delay_p95_s": 1.92 + 4 * lost,
            "false_alarms": round(100 * lost),
            "wrong_modality": 1,
            "clean_hours": 2.41,
            "false_alarms_per_hour_upper": (3.0 + 130 * lost) / 2.41,
        },
        "clean": {"night.mcap": _clean(lost)},
        "cost_ms": {"encode": 21.4, "detect": 6.3, "correct": 1.02 + lost, "total": 28.7 + lost},
    }


def _clean(lost: float) -> dict[str, Any]:
    """One recording of two hours that nothing was injected into."""
    shares = {"camera": 0.004 + lost, "kinematics": 0.006, "any": 0.0095 + lost}
    return {
        "windows": 108000,
        "episodes": 12,
        "hours": 1.97,
        "raised": {
            "0.01": {
                name: {"share": one, "interval": (one / 2, 2 * one)} for name, one in shares.items()
            },
            "0.001": {name: {"share": one / 10, "interval": None} for name, one in shares.items()},
        },
        "false_alarms": 2,
        "false_alarms_per_hour": 2 / 1.97,
        "false_alarms_per_hour_upper": 6.2958 / 1.97,
    }


def _protocol(lost: float) -> dict[str, Any]:
    macro_f1 = 0.924 - lost
    return {
        "confusion": [
            [0.980, 0.011, 0.009],
            [0.052 + lost, 0.948 - lost, 0.0],
            [0.160 + lost, 0.0, 0.840 - lost],
        ],
        "classes": {
            "clean": {"precision": 0.824 - lost, "recall": 0.980, "f1": 0.895 - lost},
            "camera": {"precision": 0.987, "recall": 0.948 - lost, "f1": 0.967 - lost},
            "kinematics": {"precision": 0.989, "recall": 0.840 - lost, "f1": 0.909 - lost},
        },
        "macro_f1": macro_f1,
        "macro_f1_interval": (macro_f1 - 0.015, macro_f1 + 0.009),
        "macro_f1_visible": macro_f1 + 0.02,
        "macro_f1_from_effects": {"1": 0.987, "2": 0.975, "4": 0.951, "8": 0.898},
        "macro_f1_held_out": macro_f1 - 0.06 - lost,
        "over_5_windows": {
            "macro_f1": macro_f1 + 0.03,
            "interval": (macro_f1 + 0.01, macro_f1 + 0.04),
            "visible": macro_f1 + 0.035,
        },
        "auroc": {"camera": 0.991 - lost, "kinematics": 0.968 - lost, "any": 0.979 - lost},
        "recall_at_far": {
            "1e-2": {name: _point(0.93 - lost, 0.0085) for name in MODALITIES},
            "1e-3": {name: _point(0.87 - 2 * lost, 0.0006) for name in MODALITIES},
        },
        "recall_by": _recall_by(lost),
        "error": {
            name: {key: value + lost * value for key, value in error.items()}
            for name, error in ERRORS.items()
        },
    }


def _point(recall: float, far: float) -> dict[str, Any]:
    interval = (recall - 0.03, min(1.0, recall + 0.02))
    return {"recall": recall, "interval": interval, "measured_far": far}


def _recall_by(lost: float) -> dict[str, Any]:
    tenths = {f"{at / 10:.1f}–{at / 10 + 0.1:.1f}": 1 - 0.55 * 0.6**at for at in range(10)}
    return {
        "fault": {
            name: {**_recall(recall - lost, 240, effect), "origin": origin}
            for name, (origin, effect, recall) in FAULTS.items()
        },
        "origin": {"upstream": _recall(0.89 - lost, 1480), "sensor": _recall(0.9 - lost, 2210)},
        "severity": {name: _recall(recall - lost, 369) for name, recall in tenths.items()},
        "effect": {name: _recall(max(0, recall - lost), 510) for name, recall in EFFECTS.items()},
    }


def _recall(recall: float, windows: int, median_effect: float = 14.0) -> dict[str, Any]:
    return {
        "recall": recall,
        "windows": windows,
        "episodes": 8,
        "median_effect": median_effect,
    }
