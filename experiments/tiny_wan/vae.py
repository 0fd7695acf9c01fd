"""Train the autoencoder of tiny-wan: ``python -m experiments.tiny_wan.vae``."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample, patchify, unpatchify
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from torch import Tensor, nn

from experiments import command_line
from experiments.tiny_wan.clips import HELD_OUT, drawn_scenes, rendered, to_model
from experiments.tiny_wan.training import Optimizers, Training, keep_freed_pages
from fastvmt.versions import main_options


def resample_all_frames(layer: WanResample, x: Tensor) -> Tensor:
    """What ``WanResample`` does chunk by chunk with its cache, for all frames at once."""
    b, c, t = x.shape[:3]
    if layer.mode == "upsample3d" and t > 1:
        later = layer.time_conv(x[:, :, 1:]).unflatten(1, (2, c))  # causal zero padding, as the empty cache
        later = later.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
        x = torch.cat([x[:, :, :1], later], 2)
    t = x.shape[2]
    x = layer.resample(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (b, t)).transpose(1, 2)
    if layer.mode == "downsample3d" and t > 1:
        x = torch.cat([x[:, :, :1], layer.time_conv(x)], 2)
    return x


class ParallelVAE(nn.Module):
    """The same encoder and decoder without the frame cache, so that training runs on whole clips."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        super().__init__()
        self.vae = vae
        for layer in vae.modules():
            if isinstance(layer, WanResample):
                layer.forward = lambda x, feat_cache=None, feat_idx=None, layer=layer: resample_all_frames(layer, x)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, T, H, W) in [-1, 1] to the posterior's mean and log variance."""
        x = patchify(x, self.vae.config.patch_size)
        mean, logvar = self.vae.quant_conv(self.vae.encoder(x)).chunk(2, 1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, z: Tensor) -> Tensor:
        return unpatchify(self.vae.decoder(self.vae.post_quant_conv(z)), self.vae.config.patch_size)


def loss_of(model: ParallelVAE, x: Tensor, cfg: DictConfig) -> tuple[Tensor, float]:
    """Reconstruction plus a weak KL term; also the PSNR in dB."""
    with torch.autocast(x.device.type, torch.bfloat16):
        mean, logvar = model.encode(x)
        z = mean + torch.exp(0.5 * logvar.float()) * torch.randn_like(mean)
        y = model.decode(z).float()
    error = y - x
    kl = 0.5 * (mean.float() ** 2 + logvar.float().exp() - 1 - logvar.float()).mean()
    mse = error.square().mean()
    return error.abs().mean() + cfg.mse_weight * mse + cfg.kl_weight * kl, float(10 * torch.log10(4 / mse.detach()))


@torch.no_grad()
def held_out_psnr(vae: AutoencoderKLWan, cfg: DictConfig, device: torch.device) -> dict[str, float]:
    """Mean and worst PSNR over held-out clips, through the stock chunked encode and decode."""
    clips = to_model(rendered(drawn_scenes(cfg.eval_clips, cfg.frames, cfg.seed, HELD_OUT), cfg.size))
    values = []
    for x in clips.split(4):
        x = x.to(device)
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample
        values.append(10 * torch.log10(4 / (y - x).square().flatten(1).mean(1)))
    psnr = torch.cat(values)
    return {"psnr_mean": psnr.mean().item(), "psnr_worst": psnr.min().item(), "clips": len(psnr)}


@torch.no_grad()
def latent_statistics(model: ParallelVAE, pool: Tensor, device: torch.device) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation of the posterior means."""
    z = torch.cat([model.encode(to_model(x).to(device))[0].float().cpu() for x in pool[:256].split(8)])
    z = z.transpose(0, 1).flatten(1)
    return z.mean(1).tolist(), z.std(1).tolist()


def crop(pool: Tensor, batch: int, side: int, generator: torch.Generator) -> Tensor:
    """Random square crops of random clips."""
    index = torch.randint(len(pool), (batch,), generator=generator)
    top, left = torch.randint(pool.shape[2] - side + 1, (2,), generator=generator).tolist()
    return to_model(pool[index, :, top : top + side, left : left + side])


@hydra.main(**main_options(), config_path="conf", config_name="vae")
def main(cfg: DictConfig) -> None:
    keep_freed_pages()
    torch.manual_seed(cfg.seed)
    device = torch.device(cfg.device)
    folder = Path(cfg.folder)
    vae = AutoencoderKLWan(**OmegaConf.to_container(cfg.model)).to(device)
    if cfg.init is not None:
        vae.load_state_dict(load_file(Path(cfg.init) / "diffusion_pytorch_model.safetensors"))
    else:
        for block in vae.modules():  # start each residual branch small
            if type(block).__name__ == "WanResidualBlock":
                nn.init.zeros_(block.conv2.weight)
    model = ParallelVAE(vae).to(device)
    optimizers = Optimizers(cfg.muon_lr, cfg.adam_lr, model, ("conv_in", "conv_out", "quant_conv"))
    training = Training(model, optimizers, folder / "vae_training", steps=cfg.steps, ema=0.998)
    pool = rendered(drawn_scenes(cfg.pool, cfg.frames, cfg.seed), cfg.size)
    generator = torch.Generator().manual_seed(cfg.seed + training.step_count)
    for _ in training.steps():
        whole = training.progress > cfg.full_frames_from
        side, batch = (cfg.size, cfg.full_batch) if whole else (cfg.crop, cfg.batch)
        loss, psnr = loss_of(model, crop(pool, batch, side, generator).to(device), cfg)
        training.update(loss, psnr=psnr)
    final = training.averaged
    mean, std = latent_statistics(final, pool, device)
    stock = AutoencoderKLWan(**OmegaConf.to_container(cfg.model), latents_mean=mean, latents_std=std)
    stock.load_state_dict(final.vae.state_dict())
    stock = stock.eval().to(device)
    stock.save_pretrained(folder / "vae")
    report = held_out_psnr(stock, cfg, device) | {"steps": training.step_count, "minutes": training.seconds / 60}
    (folder / "vae_report.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    command_line.run(main)
