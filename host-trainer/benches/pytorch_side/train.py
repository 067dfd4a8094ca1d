"""Loss, optimizer, schedule and average, as our trainer has them."""

import copy
import math

import torch
from torch.nn import functional as F


class Trainer:
    def __init__(self, net, spec):
        self.net, self.average, self.spec = net, copy.deepcopy(net).eval(), spec
        if spec["optimizer"] != "adamw":
            raise SystemExit(f"the bench compares AdamW only, not {spec['optimizer']}")
        weights = [p for p in net.parameters() if p.dim() >= 2]
        rest = [p for p in net.parameters() if p.dim() < 2]
        groups = [{"params": weights, "weight_decay": spec["weight_decay"]}, {"params": rest, "weight_decay": 0.0}]
        # PyTorch's fastest on a CPU: one kernel for each tensor's whole update.
        self.optimizer = torch.optim.AdamW(groups, lr=spec["learning_rate"], fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.share)
        self.steps = 0
        floats = lambda net: [t.detach() for t in net.state_dict().values() if t.is_floating_point()]
        self.pairs = floats(self.average), floats(net)

    def share(self, step):
        """Of the highest learning rate: linear warm-up, then half a cosine."""
        spec = self.spec
        if step < spec["warmup"]:
            return (step + 1) / spec["warmup"]
        span = max(1, spec["steps"] - spec["warmup"] - 1)
        progress = min(1.0, (step - spec["warmup"]) / span)
        return spec["final_share"] + (1 - spec["final_share"]) * 0.5 * (1 + math.cos(math.pi * progress))

    def step(self, images, targets, valid):
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.net(images)
        total = loss(outputs[0], targets, valid, self.spec)
        if len(outputs) > 1:
            present = (targets.amax((2, 3)) >= 0.5).float()
            each = F.binary_cross_entropy_with_logits(outputs[1].flatten(1), present, reduction="none")
            total = total + self.spec["auxiliary_weight"] * (each * valid).sum() / valid.sum().clamp(min=1)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.spec["clip_norm"], foreach=True)
        self.optimizer.step()
        self.schedule.step()
        decay = min(self.spec["ema_decay"], (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(*self.pairs, 1 - decay)
        self.steps += 1
        return total.item()


def loss(logits, targets, valid, spec):
    """BCE + Dice; classes that an image does not annotate take no part."""
    planes = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((2, 3))
    bce = (planes * valid).sum() / valid.sum().clamp(min=1)
    probability = logits.sigmoid() * valid[:, :, None, None]
    over = (0, 2, 3)
    overlap = (probability * targets).sum(over)
    dice = (2 * overlap + 1) / (probability.sum(over) + targets.sum(over) + 1)
    annotated = valid.amax(0)
    lost = ((1 - dice) * annotated).sum() / annotated.sum().clamp(min=1)
    return spec["bce_weight"] * bce + spec["dice_weight"] * lost
