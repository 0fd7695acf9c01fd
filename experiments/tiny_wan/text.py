"""The word-level tokenizer and the small UMT5 encoder of tiny-wan."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from fastvmt.world.vocabulary import words

MAX_TOKENS = 16
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per lower-case word of the world's captions, then the end token."""
    vocabulary = {word: i for i, word in enumerate([PAD, END, UNKNOWN, *words()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[^a-z]+"), "removed")
    tokenizer.post_processor = processors.TemplateProcessing(f"$A {END}", None, [(END, vocabulary[END])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
    )


def build_text_encoder(width: int, layers: int, tokens: int) -> UMT5EncoderModel:
    """A randomly initialised UMT5 encoder over ``tokens`` words."""
    config = UMT5Config(
        vocab_size=tokens,
        d_model=width,
        d_kv=32,
        num_heads=width // 32,
        d_ff=2 * width,
        num_layers=layers,
        relative_attention_num_buckets=16,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return UMT5EncoderModel(config)
