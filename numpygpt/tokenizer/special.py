"""Names of special tokens in public data sets and models."""

END_OF_TEXT = "<|endoftext|>"
ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "[SEP]")  # those that end a document
SPECIAL = (*ENDS, "<|startoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>",
           "<|eot_id|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<start_of_turn>", "<end_of_turn>",
           "[INST]", "[CLS]", "<bos>", "<pad>", "[PAD]")  # fmt: skip
