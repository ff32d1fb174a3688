"""The training loop, checkpoints, and the two things it is used for: pretraining and finetuning."""

from trajtune.training.finetune import FewShot, Finetuned, few_shot, finetune
from trajtune.training.loop import TrainConfig
from trajtune.training.pretrain import PretrainConfig, pretrain

__all__ = ["FewShot", "Finetuned", "PretrainConfig", "TrainConfig", "few_shot", "finetune", "pretrain"]
