"""The one place that makes a tokenizer from the files of a model folder, and writes it as one file."""

from affineur.runtime.tokenization.added import WordSplitter
from affineur.runtime.tokenization.folder import FolderTokenizer, read_tokenizer
from affineur.runtime.tokenization.standalone import for_words, settle, write_tokenizer

__all__ = ["FolderTokenizer", "WordSplitter", "for_words", "read_tokenizer", "settle", "write_tokenizer"]
