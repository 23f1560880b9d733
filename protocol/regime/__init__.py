"""What a training is doing, in one word and one sentence with numbers: too much and it explodes, too little and it stalls."""

from .regime import REPEAT, Regime
from .signs import STEEP
from .verdict import NORMAL, REGIMES, Verdict

__all__ = ["NORMAL", "REGIMES", "REPEAT", "STEEP", "Regime", "Verdict"]
