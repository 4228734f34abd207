"""The least script that does what `keepers coreset pictures.parquet --proxy preact8` does.

python benchmarks/bare_cifar10.py TRAIN.parquet OUT.parquet

Reads the file, decodes the JPEGs and shrinks them to 16 × 16, trains the same 8-layer
pre-activation ResNet by the same recipe (SGD, one cycle, 5 epochs of batches of 128 in bf16, crop
and flip), scores every picture by entropy and writes the rows of the upper half. No ids, checks,
report or resuming.
"""

from __future__ import annotations

import argparse
import io
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

SIZE, PADDING, EPOCHS, BATCH, LR, WEIGHT_DECAY = 16, 2, 5, 128, 0.2, 5e-4


def decode(picture: bytes) -> np.ndarray:
    opened = Image.open(io.BytesIO(picture), formats=["JPEG"]).convert("RGB")
    return np.asarray(opened.resize((SIZE, SIZE), Image.Resampling.BOX))


def conv(channels: int, filters: int, size: int, stride: int = 1) -> nn.Conv2d:
    made = nn.Conv2d(channels, filters, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


class Block(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(filters)
        self.conv1, self.conv2 = conv(channels, filters, 3, stride), conv(filters, filters, 3)
        self.shortcut = conv(channels, filters, 1, stride) if channels != filters else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x), inplace=True)
        skip = x if self.shortcut is None else self.shortcut(active)
        return skip + self.conv2(F.relu(self.norm2(self.conv1(active)), inplace=True))


class PreactResNet8(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = conv(3, 16, 3)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.norm, self.classifier = nn.BatchNorm2d(64), nn.Linear(64, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.relu(self.norm(self.blocks(self.stem(pictures))), inplace=True)
        return self.classifier(x.mean((2, 3)))


def augmented(pictures_NHWC: Tensor) -> Tensor:
    """A shift of up to `PADDING` pixels and a flip, for each picture."""
    n = len(pictures_NHWC)
    padded = F.pad(pictures_NHWC, (0, 0, PADDING, PADDING, PADDING, PADDING))
    across = torch.arange(SIZE)
    rows = torch.randint(2 * PADDING + 1, (n, 1)) + across
    columns = torch.where(torch.rand(n, 1) < 0.5, across, SIZE - 1 - across)
    columns = columns + torch.randint(2 * PADDING + 1, (n, 1))
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--keep", type=float, default=0.5)
    args = parser.parse_args()
    clock = [time.perf_counter()]
    phases: dict[str, float] = {}

    def done(phase: str) -> None:
        clock.append(time.perf_counter())
        phases[phase] = round(clock[-1] - clock[-2], 3)

    torch.manual_seed(0)
    table = pq.read_table(args.data, columns=["img", "label"])
    labels = torch.from_numpy(table["label"].to_numpy())
    done("reading")
    decoded = [decode(picture["bytes"]) for picture in table["img"].to_pylist()]
    pictures = torch.from_numpy(np.stack(decoded))
    floats = pictures.view(-1, 3).float() / 255
    mean, std = floats.mean(0), floats.std(0)
    del decoded, floats
    done("encoding")

    def normalised(pictures_NHWC: Tensor) -> Tensor:
        return ((pictures_NHWC.float() / 255 - mean) / std).permute(0, 3, 1, 2)

    n = len(labels)
    model = PreactResNet8(num_classes=10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=0.9, weight_decay=WEIGHT_DECAY, fused=True
    )
    steps = EPOCHS * -(-n // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=steps, cycle_momentum=False
    )
    for _ in range(EPOCHS):
        for rows in torch.randperm(n).split(BATCH):
            inputs = normalised(augmented(pictures[rows]))
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(inputs)
            loss = F.cross_entropy(logits.float(), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    done("proxy training")
    model.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        parts = [model(normalised(part)).float() for part in pictures.split(512)]
    log_probs = F.log_softmax(torch.cat(parts), 1)
    entropy = -(log_probs.exp() * log_probs).sum(1)
    done("scoring")
    kept = entropy.argsort(descending=True, stable=True)[: round(args.keep * n)]
    pq.write_table(pa.table({"row": kept.numpy(), "score": entropy[kept].numpy()}), args.out)
    done("writing")
    accuracy = float((log_probs.argmax(1) == labels).float().mean())
    print(json.dumps({"kept": len(kept), "accuracy": round(accuracy, 4), "phases": phases}))


if __name__ == "__main__":
    main()
