"""Which part of a configuration a result depends on."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from fastvmt.cache import content_key

NOT_RESULT = ("output_dir", "cache_dir", "dry", "logger", "trainer", "objective", "device", "experiment")
"""Keys that do not change what is generated or scored."""


def config_hash(cfg: DictConfig) -> str:
    """Hash everything in the configuration that changes a case's result."""
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    return content_key(config={key: value for key, value in resolved.items() if key not in NOT_RESULT})
