# %% [markdown]
# # Attention mechanisms: from theory to implementation
#
# This notebook explains attention, builds eight mechanisms in a few lines each, and trains a small Transformer that
# uses one of them to translate English into German. You need Python and a little PyTorch, but no prior knowledge of
# attention.
#
# The whole notebook runs in less than four minutes on two cores of an ordinary computer, without a GPU and without
# downloads.

# %% [markdown]
# ## Introduction and applications
#
# *What problem does attention solve?*
#
# Take the sentence “The old dog sees a small cat.” A translator writing the German word for “dog” looks at “dog”,
# perhaps at “old”, and hardly at “cat”. The first neural translators could not do that. They compressed the sentence
# into one vector of fixed size and wrote the translation from this vector alone, so long sentences suffered. Bahdanau,
# Cho and Bengio (2014, [arXiv 1409.0473](https://arxiv.org/abs/1409.0473)) let the decoder, the part that writes, look
# back at every word of the source and learn where to look. That is attention. The Transformer (Vaswani et al. 2017,
# [arXiv 1706.03762](https://arxiv.org/abs/1706.03762)) uses attention within the source and within the target too, and
# most language models today are Transformers.
#
# In one sentence: **attention is a weighted sum, and a mechanism says where the weights come from.** Here are the
# weights of a translator writing “Hund”, made up for now, and a number that stands for each word:

# %%
weights = {"The": 0.05, "old": 0.15, "dog": 0.80}  # where to look: shares that sum to 1
values = {"The": 1.0, "old": 20.0, "dog": 10.0}  # what each word passes on
print("output:", round(sum(weights[word] * values[word] for word in weights), 2))

# %% [markdown]
# The output is close to the value of “dog”, with a little of “old” mixed in. In a model, each word passes on a vector
# instead of one number, and the weights are computed. Where attention is used:
#
# | Application | input | output | what attention does there |
# |---|---|---|---|
# | machine translation | a sentence | the sentence in another language | finds the source words for the next target word |
# | text summarization | a document | a short text | finds what is worth saying |
# | question answering | a question and a text | a piece of the text | connects the words of both |
# | text generation | the beginning of a text | its continuation | looks back at what was said |
# | sentiment analysis | a review | positive or negative | connects “not” with what it negates |
#
# This notebook follows translation from beginning to end, and turns to sentiment where class labels are needed.

# %% [markdown]
# ## Notebook structure
#
# *What comes in which order?*
#
# | Sections | what you have at the end |
# |---|---|
# | [Set-up](#Set-up), [Device configuration](#Device-configuration) | everything imported, and a device |
# | [Data loading](#Data-loading), [Preprocessing](#Preprocessing), [Vocabulary creation](#Vocabulary-creation), [Data splitting](#Data-splitting), [Label encoding](#Label-encoding), [Tokenizer](#Tokenizer), [Padding](#Padding), [Datasets](#Datasets) | text as tensors of numbers |
# | [Attention mechanisms](#Attention-mechanisms) | eight mechanisms, each as a formula, in ten lines, from the package, and as a picture |
# | [Model architecture](#Model-architecture), [Trainer](#Trainer), [Training](#Training) | a trained Transformer |
# | [Evaluation](#Evaluation), [Inference](#Inference), [Interpretability](#Interpretability) | how good it is, what it says, where it looks |
# | [Conclusion](#Conclusion) | what to remember, and where to go next |
#
# The notebook *calls* the package `attention_lab` and copies nothing from it, so what you see is what this project's
# pipeline runs. Cells under **Your turn** are exercises: replace `raise NotImplementedError` with a few lines and run
# the cell. A check tells you in one sentence whether something is wrong. You may skip the exercises: nothing later
# depends on them. Solutions are in `notebooks/solutions.py`. First, is everything installed that the sections need?

# %%
import importlib.util

for name in ("attention_lab", "torch", "transformers", "pandas", "matplotlib"):
    print(f"{name:14}", "found" if importlib.util.find_spec(name) else "missing: do what Set-up says")

# %% [markdown]
# These words and letters have the same meaning throughout:
#
# | Word | Meaning |
# |---|---|
# | **query** | what a word looks for |
# | **key** | what a word offers to the words that look |
# | **value** | what a word passes on when it is looked at |
# | **score** | how well a key answers a query: any number |
# | **weight** | the score after normalising: a share of the query's attention |
# | **output** | the sum of the values, each multiplied by its weight |
# | **parameter** | a number that training changes; often called a weight elsewhere, but not here |
# | **projection** | a multiplication by a matrix of parameters; it turns word vectors into queries, keys and values |
#
# | Letter | Meaning |
# |---|---|
# | $B$ | number of sentences in a batch |
# | $H$ | number of heads: attentions side by side |
# | $L_q$, $L_k$ | number of queries and of keys; $L$ where they are the same words |
# | $D$ | width of a query and a key (and, here, of a value) |
# | $W$ | width of the model, $W = H \cdot D$ |
#
# A mask is a table of True and False, and **True means: may look**.

# %% [markdown]
# ## Set-up
#
# *What do you need?*
#
# You need the package and Jupyter. In a terminal, in the project's folder:
#
# ```sh
# make install
# source .venv/bin/activate
# pip install --constraint requirements.lock --editable '.[notebook]'
# jupyter lab notebooks/attention_from_theory_to_implementation.ipynb
# ```
#
# The next cell does two more things. A seed makes the random numbers the same in every run. And `options` holds the
# pipeline's parameters from `params.yaml`, with some of them changed so that training takes about a minute.

# %%
import math
import os
import tempfile
import textwrap
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="IProgress not found")  # progress bars as text are enough

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import transformers
from IPython.display import Image
from torch import Tensor
from torch.nn import functional as F

import attention_lab.attention as attention
from attention_lab import (
    cleaning,
    device,
    encoding,
    evaluation,
    params,
    records,
    sources,
    splitting,
    training,
    vocabulary,
)
from attention_lab.attention import catalogue
from attention_lab.attention.contract import Call, Sizes, Where, here
from attention_lab.batching import TokenBuckets, examples, padded
from attention_lab.errors import InputError
from attention_lab.exercises import check
from attention_lab.huggingface.models import LabForSeq2SeqLM
from attention_lab.inference import Predictor
from attention_lab.interpretation import alignment, heatmap
from attention_lab.interpretation.weights import collect
from attention_lab.tasks import TASKS
from attention_lab.transformer import build

QUICK = os.environ.get("ATTENTION_LAB_NOTEBOOK") == "quick"  # for tests: fewer steps, fewer sentences to measure
ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "params.yaml").exists())
FOLDER = tempfile.TemporaryDirectory(prefix="attention-notebook-")  # goes when the notebook is closed
WORK = Path(FOLDER.name)  # files that this notebook writes
torch.manual_seed(0)
pd.set_option("display.max_colwidth", 90)
plt.rcParams.update({"figure.constrained_layout.use": True, "axes.spines.top": False, "axes.spines.right": False})


def changed(section, **values):
    """The section of params.yaml with other values, checked as the pipeline checks them."""
    return type(section)(**{**section.model_dump(), **values})


options = params.load(ROOT / "params.yaml")
if (options.task, options.data.source) != ("translation", "embedded"):
    raise InputError("params.yaml is that of another task or file; `git checkout HEAD params.yaml` brings it back")
options = changed(
    options,
    data=changed(options.data, size=8000),
    model=changed(options.model, layers=1, decoder_layers=1, width=128, heads=4, feedforward=256),
    train=changed(options.train, epochs=8, tokens_per_batch=600, learning_rate=3e-3, max_steps=200 if QUICK else None),
)
print(f"task: {options.task}, attention: {options.attention.mechanism}, sentences: {options.data.size:,}")

# %% [markdown]
# ## Device configuration
#
# *Where does it run?*
#
# On a GPU if there is one, otherwise on the CPU. A model this small gains little from a GPU. On a CPU, `device.prepare`
# also picks the one of PyTorch's matrix multiplications that suits its kind, at full accuracy, and sets the number of
# threads.

# %% tags=["varies"]
place = device.choose("auto")
product = device.prepare(place, options.train.threads)
print(f"device: {place}, matrix multiplication: {product}, threads: {torch.get_num_threads()}")

# %% [markdown]
# ## Data loading
#
# *How does text come in?*
#
# Text comes from a CSV file, a JSON file, or a corpus that is part of the package. Whatever the format, the result is a
# table of the same form: `row` says where an example comes from, and the other columns depend on the task. Here is a
# CSV file with reviews. Its column names differ from ours, so `columns` says which is which.

# %%
(WORK / "reviews.csv").write_text(
    "review,stars\nThe soup was wonderful.,good\nNobody would call the room pleasant.,bad\n"
    "   ,good\nThe   SOUP was wonderful!,good\n",
    encoding="utf-8",
)
sentiment = records.SHAPES["sentiment"]  # which columns the task has
from_csv = changed(
    options.data, source="file", path=str(WORK / "reviews.csv"), columns={"text": "review", "label": "stars"}
)
reviews, manifest = sources.load(from_csv, sentiment, options.seed, "sentiment")
reviews[["row", "text", "label"]].replace(str(WORK) + "/", "", regex=True)

# %% [markdown]
# JSON works the same way, with one object per line (`.jsonl`) or one list (`.json`).

# %%
(WORK / "pairs.jsonl").write_text('{"en": "The dog sleeps.", "de": "Der Hund schläft."}\n', encoding="utf-8")
translation = records.SHAPES["translation"]
from_json = changed(
    options.data, source="file", path=str(WORK / "pairs.jsonl"), columns={"source": "en", "target": "de"}
)
pairs, _ = sources.load(from_json, translation, options.seed, "translation")
pairs[["source", "target"]]

# %% [markdown]
# If something is wrong with a file or a setting, one sentence says what to do.

# %%
try:
    sources.load(changed(from_json, columns={"source": "english"}), translation, options.seed, "translation")
except InputError as error:
    print(str(error).replace(str(WORK) + "/", ""))

# %% [markdown]
# From here on, this notebook uses the embedded English–German corpus. A grammar generates it, and the grammar knows
# which word translates which: `alignment` lists pairs (source word, target word), counted from 0. Files of real
# translations hardly ever say that, and we need it in the section on interpretability. Even from a grammar, German is
# hard enough: verbs move to the end, and articles change with gender and case.

# %%
raw, _ = sources.load(options.data, translation, options.seed, "translation")
raw[["row", "source", "target", "alignment"]].head(4)

# %% [markdown]
# ## Preprocessing
#
# *What has to be cleaned?*
#
# Cleaning does two things. It normalises texts: Unicode, white space and, if you ask for it, case and punctuation. And
# it rejects rows that would do harm: empty rows, duplicates, the same text with two labels. Rejected rows are listed
# with their reasons, so nothing vanishes silently. On the reviews, in lower case and without punctuation:

# %%
strict = changed(options.clean, lowercase=True, remove_punctuation=True)
kept_reviews, rejected = cleaning.clean(reviews, sentiment, strict)
pd.concat([kept_reviews.assign(reason="(kept)"), rejected])[["text", "label", "reason"]]

# %% [markdown]
# Lower case is not always right: in German it would hide which words are nouns. So the translation corpus keeps its
# case and its punctuation, as `params.yaml` says.

# %%
kept, rejected = cleaning.clean(raw, translation, options.clean)
print({reason: count for reason, count in cleaning.counts(kept, rejected).items() if count})

# %% [markdown]
# ## Vocabulary creation
#
# *How does a word become a number?*
#
# A vocabulary is a list of entries; an entry's place in the list is its number (its *id*). The vocabulary is built from
# **training** rows alone: a word that occurs only in the test must stay unknown, or the test would be easier than real
# use. Five entries are special: `<pad>` is padding, `<unk>` stands for unknown words, `<s>` and `</s>` begin and end a
# text, and `<mask>` hides words in other kinds of training. English and German share one vocabulary here. An entry
# includes the space before its word, so that joining entries restores the text exactly.

# %%
where = splitting.assign(kept, translation, options.split, options.seed)  # see the next section
train_rows = kept[where == "train"]
texts = [text for column in translation.texts for text in train_rows[column]]
tokenizer = vocabulary.train(texts, options.vocab, cleaning.normaliser(options.clean))
entries = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
print(f"{len(entries)} entries; the first: {[entry for entry, _ in entries[:12]]}")
unseen = [text for column in translation.texts for text in kept[where == "valid"][column]]
print(f"unknown in validation sentences: {vocabulary.unknown_share(tokenizer, unseen):.2%} of the tokens")

# %% [markdown]
# ## Data splitting
#
# *Which rows may the model learn from?*
#
# The model learns from **training** rows. **Validation** rows choose among its versions. **Test** rows are looked at
# once, at the end. In this corpus the split is given: validation and test sentences contain pairs of words, such as an
# adjective with its noun, that never occur together in training.

# %%
parts = {name: kept[where == name].reset_index(drop=True) for name in records.SPLITS}
print({name: len(part) for name, part in parts.items()})

# %% [markdown]
# Where no split is given, each text is hashed to a number in [0, 1), and the number decides. It depends on the text
# alone. So a row keeps its split when others are added, and the same text cannot fall into two splits, whatever its
# case and white space.

# %%
for text in ("The dog runs.", "A bird sings.", "a  bird SINGS."):
    number = splitting.position(text, options.seed)
    split = "test" if number < 0.1 else "valid" if number < 0.2 else "train"
    print(f"{text!r:22} {number:.3f} {split}")

# %% [markdown]
# ## Label encoding
#
# *How does an answer become a number?*
#
# In classification the answer is one of a few labels, and its number is its place in the sorted list of labels.

# %%
sentiment_rows, _ = sources.load(changed(options.data, size=9000), sentiment, options.seed, "sentiment")
labels = vocabulary.labels(sentiment_rows.loc[sentiment_rows["split"] == "train", "label"])
numbers = {label: number for number, label in enumerate(labels)}
print(numbers)
sentiment_rows[["text", "label"]].assign(number=sentiment_rows["label"].map(numbers)).head(3)

# %% [markdown]
# In translation the answer is a text, and the label of each position is simply the **next token**. The decoder reads
# the target up to some token and has to predict the one after it:

# %%
ids = tokenizer(parts["train"]["target"][0])["input_ids"]
tokens = tokenizer.convert_ids_to_tokens(ids)
pd.DataFrame({"decoder reads": tokens[:-1], "label (next token)": tokens[1:], "number": ids[1:]}).T

# %% [markdown]
# ## Tokenizer
#
# *Where does a word begin, and where does it end?*
#
# A tokenizer cuts a text into entries of its vocabulary: words, pieces of words or characters. Words make short
# sequences, but unknown words are lost. Characters lose nothing, but make long sequences. Pieces of words (here from
# byte-pair encoding, BPE) lie in between. All three are fast tokenizers of the library `transformers`.

# %%
SENTENCE = "The old dog sees a small cat."
for kind, size in (("word", 4000), ("bpe", 300), ("character", 4000)):
    trained = vocabulary.train(texts[:3000], changed(options.vocab, tokenizer=kind, size=size), None)
    pieces = trained.convert_ids_to_tokens(trained(SENTENCE)["input_ids"])
    print(f"{kind:9} {len(pieces):2} tokens: {' | '.join(pieces)}")

# %% [markdown]
# The grammar's vocabulary is small, so words are enough for us. Text → ids → text is exact as long as every word is
# known:

# %%
for text in (SENTENCE, "The old robot sees a small cat."):
    ids = tokenizer(text)["input_ids"]
    print(ids, "→", tokenizer.decode(ids, skip_special_tokens=False))

# %% [markdown]
# ## Padding
#
# *How do sentences of different lengths fit into one tensor?*
#
# Shorter sentences are filled up with `<pad>` at the end. A mask records what is real: True = a token, False = padding.
# Padding must get a weight of exactly 0 in every mechanism. Otherwise the translation of a sentence would depend on the
# length of its neighbours in the batch.

# %%
rows = [np.array(tokenizer(text)["input_ids"]) for text in ("The dog sleeps.", SENTENCE, "I can see him.")]
batch = padded(rows, tokenizer.pad_token_id)  # (B, L)
mask = batch != tokenizer.pad_token_id  # (B, L)
figure, axes = plt.subplots(figsize=(9, 2.2))
axes.imshow(mask, cmap="Blues", vmin=0, vmax=2.5, aspect="auto")
for row, ids in enumerate(batch.tolist()):
    for column, token in enumerate(tokenizer.convert_ids_to_tokens(ids)):
        axes.text(column, row, token.strip(), ha="center", va="center")
axes.set_xticks(range(mask.shape[1]))
axes.set_yticks(range(3), ["sentence 1", "sentence 2", "sentence 3"])
axes.set_xlabel("position")
axes.set_title("A padded batch: shaded cells are tokens (mask True), white cells are padding (mask False)")
plt.show()

# %% [markdown]
# ## Datasets
#
# *How do rows reach the model?*
#
# `encoding.encode` turns all texts into ids once. `examples` makes a PyTorch `Dataset` of them; indexing it with row
# numbers gives a padded batch. `TokenBuckets` is a PyTorch `Sampler` that groups sentences of similar length, as many
# as fit into a given number of tokens. The comparison below shows why: padding costs time and teaches nothing.

# %%
vocabulary.save(tokenizer, WORK / "vocab")
vocabulary.save_labels([], WORK / "vocab")  # translation has no classes
if QUICK:
    parts = {name: part if name == "train" else part[:100] for name, part in parts.items()}
encoded = {}
for name, part in parts.items():
    encoded[name], _ = encoding.encode(part, translation, tokenizer, [], options.encode)
    encoding.write(encoded[name], WORK / "encoded" / f"{name}.arrow")
data = {name: examples(table, tokenizer.pad_token_id) for name, table in encoded.items()}

buckets = TokenBuckets(data["train"].lengths, options.train.tokens_per_batch, seed=options.seed).epoch(0)
batch = data["train"][buckets[0]]
print(f"{len(buckets)} batches; the first: source {tuple(batch.source.shape)}, target {tuple(batch.target.shape)}")


def padding_share(batches):
    found = [data["train"][rows].source_mask for rows in batches]
    return 1 - sum(int(mask.sum()) for mask in found) / sum(mask.numel() for mask in found)


mixed = torch.randperm(len(data["train"]), generator=torch.Generator().manual_seed(0)).split(len(buckets[0]))
print(f"padding with buckets: {padding_share(buckets):.1%}, in random batches: ", end="")
print(f"{padding_share([rows.tolist() for rows in mixed]):.1%}")

# %% [markdown]
# ## Attention mechanisms
#
# *How does a word look at other words?*
#
# ### Score, weight, output: three words by hand
#
# One query looks at three keys. The **score** of each key is its dot product with the query. The softmax turns the
# scores into **weights**: positive numbers that sum to 1. The **output** is the sum of the values times their weights.
#
# $$s_j = q \cdot k_j, \qquad w_j = \frac{e^{s_j}}{\sum_{m} e^{s_m}}, \qquad o = \sum_j w_j v_j$$
#
# with a query $q \in \mathbb{R}^{D}$, keys $k_j \in \mathbb{R}^{D}$, values $v_j \in \mathbb{R}^{D}$ for
# $j = 1 \ldots L_k$, scores and weights $s_j, w_j \in \mathbb{R}$ and an output $o \in \mathbb{R}^{D}$.

# %%
q = torch.tensor([1.0, 0.0])
keys = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
scores = keys @ q
weights = scores.exp() / scores.exp().sum()
print("scores ", scores.tolist())
print("weights", [round(weight, 3) for weight in weights.tolist()], "sum", round(float(weights.sum()), 3))
print("output ", [round(number, 2) for number in (weights @ values).tolist()])

# %% [markdown]
# **Your turn: softmax.** Write the softmax of a table of scores. Row $i$ belongs to query $i$, which divides its
# attention among the keys, so each row must sum to 1. Large scores must not overflow. Use `torch.exp`, `amax` and
# `sum`.


# %% tags=["exercise"]
def softmax(scores: Tensor) -> Tensor:
    """scores (…, Lq, Lk) → weights (…, Lq, Lk)"""
    raise NotImplementedError


check(softmax)

# %% [markdown]
# ### One sentence for all mechanisms
#
# A trained model *learns* how to make queries, keys and values. To see what a mechanism does, we write them by hand
# instead, so that you can tell at a glance what ought to match. Each word **has** features (its kind, its phrase) and
# **wants** features: an article and an adjective want the noun of their phrase, a noun wants its adjective, the verb
# wants any noun, and the full stop wants nothing. A feature that is present counts 2, an absent one 0. Queries are what
# words want; keys and values are what they have. All three are tables of shape $(L, D) = (8, 6)$; the package puts $B$
# and $H$ in front.

# %%
FEATURES = ["article", "adjective", "noun", "verb", "phrase 1", "phrase 2"]
WORDS = ["The", "old", "dog", "sees", "a", "small", "cat", "."]
HAS = ["article, phrase 1", "adjective, phrase 1", "noun, phrase 1", "verb",
       "article, phrase 2", "adjective, phrase 2", "noun, phrase 2", ""]  # fmt: skip
WANTS = ["noun, phrase 1", "noun, phrase 1", "adjective, phrase 1", "noun",
         "noun, phrase 2", "noun, phrase 2", "adjective, phrase 2", ""]  # fmt: skip


def vectors(features):
    return torch.tensor([[2.0 * (name in text.split(", ")) for name in FEATURES] for text in features])


query, key = vectors(WANTS)[None, None], vectors(HAS)[None, None]  # (B, H, L, D) with B = H = 1
value = key
pd.DataFrame({"wants (query)": WANTS, "has (key, value)": HAS}, index=WORDS).T

# %% [markdown]
# Two small functions serve all mechanisms. `package` builds a mechanism from the catalogue of `attention_lab`, and a
# `Call` for given queries and keys: what a layer passes to its mechanism, positions included. So `part.weights(call)`
# computes the weights. `show` draws weights, always on the same scale from 0 to 1. A row is the word that looks
# (query), a column is the word being looked at (key).


# %%
def package(name, query, key, **options):
    """The mechanism of that name, for self-attention in an encoder, and what it is called with."""
    heads, width = query.shape[1], query.shape[-1]
    sizes = Sizes(heads=heads, head=width, width=heads * width, length=len(WORDS), place="encoder_self")
    _, part = catalogue.build(attention.mechanism(name, options), sizes, dropout=0.0, rotary=False)
    places = here(query.shape[-2])
    return part, Call(inputs=query.flatten(1, 2), query=query, key=key, where=Where(places, places))


def show(weights, title):
    names = {"query_name": "word that looks (query)", "key_name": "word that is looked at (key)"}
    picture = heatmap.weights_map(weights.detach().numpy(), WORDS, WORDS, title=title, **names)
    return Image(picture, width=480, alt=f"A map of weights, words by words. {title}")


SEEN = {}  # the weights of each mechanism, for a picture of all of them at the end

# %% [markdown]
# ### Global softmax attention
#
# Luong, Pham and Manning (2015, [arXiv 1508.04025](https://arxiv.org/abs/1508.04025), section 3.1, “dot”) call
# attention *global* if every query looks at all keys. The score is the plain dot product:
#
# $$S = Q K^\top, \qquad P = \operatorname{softmax}(S), \qquad O = P V$$
#
# with $Q \in \mathbb{R}^{L_q \times D}$, $K, V \in \mathbb{R}^{L_k \times D}$, scores and weights
# $S, P \in \mathbb{R}^{L_q \times L_k}$, the softmax along each row, and $O \in \mathbb{R}^{L_q \times D}$.


# %%
def global_softmax(query, key):
    scores = query @ key.transpose(-2, -1)
    return scores.softmax(-1)


mine = global_softmax(query, key)
part, call = package("dot", query, key)
torch.testing.assert_close(mine, part.weights(call))
torch.testing.assert_close(mine @ value, part(call, value)[0])  # the output too, by the package's fast path
SEEN["global softmax (dot)"] = mine[0, 0]
show(mine[0, 0], "Global softmax attention: softmax(q·k)")

# %% [markdown]
# “old” puts nearly all of its weight on “dog”, the noun of its phrase. “sees” wants any noun, so it divides its
# attention. The full stop wants nothing: all its scores are 0, and the softmax turns them into eight equal weights.
# With a softmax, a word *must* look somewhere.
#
# ### Additive attention
#
# The first attention of all (Bahdanau et al. 2014, [arXiv 1409.0473](https://arxiv.org/abs/1409.0473), appendix
# A.1.2) computes the score by a small network:
#
# $$s_{ij} = v^\top \tanh(M q_i + N k_j)$$
#
# with learned $M, N \in \mathbb{R}^{D \times D}$ (the paper’s $W$ and $U$) and $v \in \mathbb{R}^{D}$, for each query
# $q_i$ and key $k_j \in \mathbb{R}^{D}$. In the package, as in a Transformer, $M$ and $N$ are the projections that make
# queries and keys. We write by hand what they would have to learn: after subtracting 1.5 from both, $q + k$ is above 0
# for a feature that one word wants and the other has, and below 0 for all other features.


# %%
def additive(query, key, vector):
    hidden = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))  # (…, Lq, Lk, D): every query with every key
    return (hidden @ vector).softmax(-1)


query_added, key_added = query - 1.5, key - 1.5  # q + k: 1 for a feature of both, −1 of one, −3 of none
part, call = package("additive", query_added, key_added)
torch.nn.init.constant_(part.score.vector, 2.0)  # v, else drawn at random
mine = additive(query_added, key_added, part.score.vector[0])
torch.testing.assert_close(mine, part.weights(call))
SEEN["additive"] = mine[0, 0]
show(mine[0, 0], "Additive attention: softmax(vᵀ tanh(q + k))")

# %% [markdown]
# Every pair of words needs $D$ values of tanh, whereas all dot products together are one matrix multiplication. So
# additive attention takes more time and memory.
#
# ### Scaled dot-product attention
#
# Dot products grow with $D$: if the entries of $q$ and $k$ are independent, with mean 0 and variance 1, then
# $q \cdot k$ is a sum of $D$ products of variance 1, so its variance is $D$. With large scores the softmax gives one
# key nearly all the weight. A small change of the scores then changes almost nothing: gradients vanish, and the model
# hardly learns. So Vaswani et al. (2017, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762), equation 1) divide by
# $\sqrt{D}$, which brings the variance back to 1:
#
# $$\operatorname{Attention}(Q, K, V) = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{D}}\right) V$$
#
# with the shapes from above. If queries, keys and values come from the same words, as here, it is called
# **self-attention**. If queries come from the target, and keys and values from the source, it is **cross-attention**.


# %%
def scaled_dot_product(query, key, mask=None):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)  # e^−inf = 0: no weight at all
    return scores.softmax(-1)


mine = scaled_dot_product(query, key)
part, call = package("scaled_dot_product", query, key)
torch.testing.assert_close(mine, part.weights(call))
torch.testing.assert_close(mine @ value, part(call, value)[0])
SEEN["scaled dot-product"] = mine[0, 0]
show(mine[0, 0], "Scaled dot-product attention: softmax(q·k / √D)")

# %% [markdown]
# The choice is the same as with global softmax attention, but softer. Numbers show what the scale is for: how evenly
# does a query look at 32 random keys? (Entropy as a share of the largest: 1 = all keys alike, 0 = one key alone.)

# %%
generator = torch.Generator().manual_seed(0)
widths = [1, 2, 4, 8, 16, 32, 64, 128, 256]
evenness = {"q·k": [], "q·k / √D": []}
for width in widths:
    q, k = torch.randn(200, width, generator=generator), torch.randn(32, width, generator=generator)
    for name, scale in (("q·k", 1.0), ("q·k / √D", math.sqrt(width))):
        weights = (q @ k.T / scale).softmax(-1)
        entropy = -(weights * weights.clamp(min=1e-30).log()).sum(-1).mean() / math.log(32)
        evenness[name].append(float(entropy))
figure, axes = plt.subplots(figsize=(6, 3))
for (name, line), style in zip(evenness.items(), ("o--", "s-"), strict=True):
    axes.plot(widths, line, style, label=name)
axes.set_xscale("log", base=2)
axes.set_xticks(widths, widths)
axes.set_ylim(0, 1)
axes.set_xlabel("D, width of queries and keys")
axes.set_ylabel("entropy of the weights\n(share of the largest)")
axes.set_title("Without the scale, wide queries look at one key alone")
axes.legend()
plt.show()

# %% [markdown]
# **Your turn: the scale.** Write the scaled scores. Careful: $D$ is the width of one head, not of the model.


# %% tags=["exercise"]
def scaled_scores(query: Tensor, key: Tensor) -> Tensor:
    """query (H, Lq, D), key (H, Lk, D) → scores (H, Lq, Lk)"""
    raise NotImplementedError


check(scaled_scores)

# %% [markdown]
# **Masks.** Two kinds of keys must get no weight: padding and, in a decoder, words that are yet to be written
# (section 3.2.3 of the paper). Their scores are set to $-\infty$ before the softmax, so their weights are
# proportional to $e^{-\infty} = 0$.

# %%
causal = torch.ones(len(WORDS), len(WORDS), dtype=torch.bool).tril()  # True: the key does not come after the query
mine = scaled_dot_product(query, key, causal)
part, call = package("causal", query, key)
torch.testing.assert_close(mine, part.weights(call))
SEEN["scaled, causal mask"] = mine[0, 0]
show(mine[0, 0], "Causal mask: no word looks ahead")

# %% [markdown]
# “The” now sees only itself, and “old” cannot see its noun. A decoder has to live with that, since it writes from left
# to right.
#
# **Your turn: two masks.** Write weights that give padding exactly 0, and the causal mask.


# %% tags=["exercise"]
def masked_weights(scores: Tensor, exists: Tensor) -> Tensor:
    """scores (B, H, Lq, Lk), exists (B, Lk), True = a word and no padding → weights (B, H, Lq, Lk)"""
    raise NotImplementedError


check(masked_weights)


# %% tags=["exercise"]
def causal_mask(length: int) -> Tensor:
    """(length, length), True where the word of the row may look at the word of the column"""
    raise NotImplementedError


check(causal_mask)

# %% [markdown]
# **Heads.** A single attention can follow only one relation at a time. So a layer has $H$ of them side by side, each
# with its own projections (section 3.2.2):
#
# $$\operatorname{head}_h = \operatorname{Attention}(X M^Q_h, X M^K_h, X M^V_h), \qquad
# O = [\operatorname{head}_1; \ldots; \operatorname{head}_H] M^O$$
#
# with inputs $X \in \mathbb{R}^{L \times W}$, projections $M^Q_h, M^K_h, M^V_h \in \mathbb{R}^{W \times D}$ and
# $M^O \in \mathbb{R}^{W \times W}$ (the paper calls them $W$, which is the width here), an output
# $O \in \mathbb{R}^{L \times W}$, and $D = W / H$. (Biases are left out here; the code has them.)

# %%
layer = attention.MultiHeadAttention(24, 4, attention.mechanism("scaled_dot_product"), "encoder_self").eval()
inputs = torch.randn(1, len(WORDS), 24)  # (B, L, W)
project, found = layer.heads, []
for head in range(4):
    rows = slice(6 * head, 6 * head + 6)  # the D = 6 rows of each matrix that belong to this head
    q, k, v = (F.linear(inputs, matrix.weight[rows], matrix.bias[rows])
               for matrix in (project.query, project.key, project.value))  # fmt: skip
    found.append(scaled_dot_product(q, k) @ v)
mine = layer.output(torch.cat(found, -1))
torch.testing.assert_close(mine, layer(inputs)[0])
print("a loop over heads = the package's layer:", tuple(mine.shape))

# %% [markdown]
# **Your turn: heads without a loop.** A reshape splits the features into heads. The usual mistake is the order of the
# axes.


# %% tags=["exercise"]
def split_heads(inputs: Tensor, heads: int) -> Tensor:
    """inputs (B, L, W) → (B, H, L, D); head h has the features h·D … h·D + D − 1"""
    raise NotImplementedError


check(split_heads)

# %% [markdown]
# ### Sparsemax
#
# A softmax gives every key some weight. Sparsemax (Martins and Astudillo 2016,
# [arXiv 1602.02068](https://arxiv.org/abs/1602.02068), equation 2 and algorithm 1) instead takes the probability
# distribution nearest to the scores, and there most keys get exactly 0:
#
# $$w_j = \max(s_j - \tau, 0), \qquad \tau \text{ such that } \sum_j w_j = 1$$
#
# with scores $s \in \mathbb{R}^{L_k}$ of one query, weights $w \in \mathbb{R}^{L_k}$ and a threshold
# $\tau \in \mathbb{R}$. To find $\tau$, sort the scores, $s_{(1)} \ge s_{(2)} \ge \ldots$: if the first $k$ of them get
# a weight, these weights sum to $\sum_{j \le k} s_{(j)} - k\tau = 1$, so $\tau = (\sum_{j \le k} s_{(j)} - 1) / k$.


# %%
def sparsemax(query, key):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    ordered = scores.sort(-1, descending=True).values
    counts = torch.arange(1, scores.shape[-1] + 1)
    thresholds = (ordered.cumsum(-1) - 1) / counts  # τ, if the first 1, 2, 3 … keys get a weight
    support = (ordered > thresholds).sum(-1, keepdim=True)  # how many of them really do
    return (scores - thresholds.gather(-1, support - 1)).clamp(min=0)


mine = sparsemax(query, key)
part, call = package("sparsemax", query, key)
torch.testing.assert_close(mine, part.weights(call))
SEEN["sparsemax"] = mine[0, 0]
show(mine[0, 0], "Sparsemax: most weights are exactly 0")

# %% [markdown]
# Use it where people will read the weights. The full stop still looks everywhere: if all scores are equal, the nearest
# distribution is the uniform one.
#
# ### Attention sinks
#
# May a word look at nothing? A *sink* is a key without a value: the weight it gets has no effect. Xiao et al. (2023,
# [arXiv 2309.17453](https://arxiv.org/abs/2309.17453)) found that language models use their first token in this way;
# gpt-oss (OpenAI 2025) adds a sink to each head and learns its score $b \in \mathbb{R}$:
#
# $$w_j = \frac{e^{s_j}}{e^{b} + \sum_m e^{s_m}}$$
#
# with scores and weights $s, w \in \mathbb{R}^{L_k}$ of one query. The weights of the real keys now sum to less than 1.


# %%
def with_sink(query, key, sink):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    longer = torch.cat((scores, sink.expand(*scores.shape[:-1], 1)), -1)  # one more key …
    return longer.softmax(-1)[..., :-1]  # … whose weight nobody gets


part, call = package("sink", query, key)
torch.nn.init.constant_(part.normalise.sink, 3.0)  # b, else learned
mine = with_sink(query, key, part.normalise.sink)
torch.testing.assert_close(mine, part.weights(call))
SEEN["sink"] = mine[0, 0]
sums = mine[0, 0].sum(-1).tolist()
print("sum of weights:", {word: round(total, 2) for word, total in zip(WORDS, sums, strict=True)})
show(mine[0, 0], "Attention with a sink: the full stop looks at little")

# %% [markdown]
# ### ALiBi: near words count more
#
# So far, except for the causal mask, word order did not matter: shuffle the keys, and the weights are shuffled along
# with them. *Attention with linear biases* (Press et al. 2021, [arXiv 2108.12409](https://arxiv.org/abs/2108.12409),
# section 3) lowers each score in proportion to the distance:
#
# $$s_{ij} = \frac{q_i \cdot k_j}{\sqrt{D}} - m_h\,|i - j|, \qquad m_h = 2^{-8h/H} \text{ for head } h = 1 \ldots H$$
#
# with positions $i, j$ and a slope $m_h \in \mathbb{R}$ for each head. (This is for $H$ a power of 2. The paper has
# only decoders, where $j \le i$.) The first of eight heads, with a slope of ½, looks nearby; the last, with a slope of
# 1/256, hardly cares about distance.


# %%
def alibi(query, key):
    heads, place = query.shape[-3], torch.arange(query.shape[-2])
    slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)  # (H,)
    distance = (place[None, :] - place[:, None]).abs()  # (L, L)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return (scores - slopes[:, None, None] * distance).softmax(-1)


eight_queries, eight_keys = query.expand(-1, 8, -1, -1), key.expand(-1, 8, -1, -1)  # 8 heads with the same vectors
mine = alibi(eight_queries, eight_keys)
part, call = package("alibi", eight_queries, eight_keys)
torch.testing.assert_close(mine, part.weights(call))
SEEN["ALiBi, head 1 of 8"] = mine[0, 0]
show(mine[0, 0], "ALiBi, head 1 of 8: the nearer noun gets more")

# %% [markdown]
# “sees” prefers “dog”, one step away, to “cat”, three steps away.
#
# ### Local windows
#
# Comparing every word with every word takes $L^2$ pairs: too many for a book. A window lets a word look at most $w$
# words away (Luong et al. 2015, section 3.2, for cross-attention; Beltagy et al. 2020,
# [arXiv 2004.05150](https://arxiv.org/abs/2004.05150), section 3.1):
#
# $$s_{ij} = \begin{cases} q_i \cdot k_j / \sqrt{D} & |i - j| \le w \\ -\infty & \text{else} \end{cases}$$
#
# with positions $i, j$ and a window $w \in \mathbb{N}$. At most $L \cdot (2w + 1)$ pairs are left. Stacked layers see
# farther: each one extends the reach by another $w$ words.


# %%
def local(query, key, window):
    place = torch.arange(query.shape[-2])
    near = (place[None, :] - place[:, None]).abs() <= window  # (L, L)
    return scaled_dot_product(query, key, near)


mine = local(query, key, window=2)
part, call = package("local", query, key, window=2)
torch.testing.assert_close(mine, part.weights(call))
SEEN["local, window 2"] = mine[0, 0]
show(mine[0, 0], "Local attention: at most 2 words away")

# %% [markdown]
# **Your turn: a window.** Write its mask. If the window is wider than the sentence, it must hide nothing.


# %% tags=["exercise"]
def local_window(length: int, window: int) -> Tensor:
    """(length, length), True where row and column are at most `window` apart"""
    raise NotImplementedError


check(local_window)

# %% [markdown]
# ### Linear attention
#
# There is another way around $L^2$. Replace $e^{q \cdot k}$ by a dot product $\phi(q) \cdot \phi(k)$ of features, one
# vector computed from the query and one from the key (Katharopoulos et al. 2020,
# [arXiv 2006.16236](https://arxiv.org/abs/2006.16236), equations 5 and 7):
#
# $$o_i = \frac{\sum_j \phi(q_i)^\top \phi(k_j)\, v_j^\top}{\sum_j \phi(q_i)^\top \phi(k_j)}
# = \frac{\phi(q_i)^\top \left(\sum_j \phi(k_j)\, v_j^\top\right)}{\phi(q_i)^\top \sum_j \phi(k_j)},
# \qquad \phi(x) = \operatorname{elu}(x) + 1$$
#
# with $q_i, k_j, v_j, \phi(\cdot) \in \mathbb{R}^{D}$ and an output $o_i \in \mathbb{R}^{D}$. On the right, the two
# sums over $j$, in $\mathbb{R}^{D \times D}$ and $\mathbb{R}^{D}$, are computed once and shared by all queries, so time
# grows with $L$. The weights are never computed, but they exist: the left side shows them.


# %%
def linear(query, key):
    of_query, of_key = F.elu(query) + 1, F.elu(key) + 1  # φ, above 0
    products = of_query @ of_key.transpose(-2, -1)
    return products / products.sum(-1, keepdim=True)


mine = linear(query, key)
part, call = package("linear", query, key)
torch.testing.assert_close(mine, part.weights(call))  # what it makes of the values v = I
torch.testing.assert_close(mine @ value, part(call, value)[0])  # the package never makes these weights
SEEN["linear"] = mine[0, 0]
show(mine[0, 0], "Linear attention: cheap, and hardly able to choose")

# %% [markdown]
# It prefers the right words, but only just. That is the price: without the exponential, one key cannot stand out among
# many.
#
# **Your turn: linear attention in linear time.** Compute the right side of the formula. No intermediate tensor may have
# an entry for each pair of query and key.


# %% tags=["exercise"]
def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query (H, Lq, D), key (H, Lk, D), value (H, Lk, Dv) → output (H, Lq, Dv)"""
    raise NotImplementedError


check(linear_attention)

# %% [markdown]
# ### All of them on one sentence
#
# Here are all of them on one scale, with numbers. Grey means exactly 0: hidden by a mask or a window, or dropped by
# sparsemax.

# %%
figure, grid = plt.subplots(3, 3, figsize=(11, 11))
for axes, (name, weights) in zip(grid.flat, SEEN.items(), strict=True):
    axes.set_facecolor("0.85")  # shows through where a weight is exactly 0
    weights = weights.detach()
    image = axes.imshow(weights.masked_fill(weights == 0, torch.nan), cmap="Blues", vmin=0, vmax=1)
    for (row, column), weight in np.ndenumerate(weights.numpy()):
        if weight >= 0.05:
            colour = "white" if weight > 0.75 else "black"
            axes.text(column, row, f"{weight:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_title(name)
    axes.set_xticks(range(len(WORDS)), WORDS, rotation=60)
    axes.set_yticks(range(len(WORDS)), WORDS)
    axes.tick_params(which="both", length=0)
    axes.set_xticks([edge - 0.5 for edge in range(1, len(WORDS))], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, len(WORDS))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
for axes in grid[:, 0]:
    axes.set_ylabel("word that looks (query)")
for axes in grid[-1]:
    axes.set_xlabel("word that is looked at (key)")
figure.colorbar(image, ax=grid, shrink=0.4, label="weight (grey: exactly 0)")
figure.suptitle("The same queries and keys under nine choices of mechanism (numbers: weights of 0.05 and more)")
plt.show()

# %% [markdown]
# The package's catalogue has many more. In a terminal, `attention-lab mechanisms` lists them all; add a name, and it
# draws that one. In the table, *L* is the length and *D* the width.

# %%
chosen = ["dot", "additive", "scaled_dot_product", "sparsemax", "sink", "alibi", "local", "linear"]
rows = [attention.CATALOGUE[name] for name in chosen]
pd.DataFrame([{"name": row.name, "weights": row.formula, "time": row.cost, "use it for": row.when} for row in rows])

# %% [markdown]
# ### One of your own
#
# Most mechanisms are a choice of score, normaliser, pattern (who may look at whom) and position, and `composed` takes
# each of them by name. Here is sparsemax in a window. Change a name or a number and look again: if a name is wrong, the
# message lists the right ones.

# %%
part, call = package("composed", query, key, score="scaled_dot", normaliser="sparsemax", pattern="local", window=2)
show(part.weights(call)[0, 0], "Sparsemax in a window of 2")

# %% [markdown]
# Now “sees” is certain, because one of the two nouns is out of its reach. A new part, such as a score that nobody has
# thought of, is a class of a few lines: `docs/howto/extend.md` writes one and registers it, and the tests check that it
# keeps the promises that all mechanisms keep.

# %% [markdown]
# ## Model architecture
#
# *How does attention become a translator?*
#
# As in Vaswani et al. (2017, section 3.1), an **encoder** reads the source and a **decoder** writes the target:
#
# ```
#   source ids (B, Ls)                           target ids so far (B, Lt)
#        │                                             │
#    embedding (B, Ls, W)                          embedding (B, Lt, W)
#        │                                             │
#  ┌─ encoder block ───────────┐                 ┌─ decoder block ───────────────────┐
#  │ self-attention            │                 │ causal self-attention             │
#  │ feed-forward              │── memory ──────▶│ cross-attention: looks at memory  │
#  └───────────────────────────┘  (B, Ls, W)     │ feed-forward                      │
#                                                └───────────────────────────────────┘
#                                                      │
#                                        one score for each entry of the vocabulary
# ```
#
# An embedding is a table with a vector of parameters for each entry of the vocabulary. Attention moves information
# between words; the feed-forward layer works on each word separately. Each of these layers has a residual connection
# (the layer's output is *added* to its input) and a normalisation (the numbers of each word are brought to mean 0 and
# variance 1). Word order comes in twice. Vectors of sines and cosines (Vaswani et al. 2017, section 3.5) are added to
# the embeddings and say where a word stands. Rotary positions (Su et al. 2021,
# [arXiv 2104.09864](https://arxiv.org/abs/2104.09864), equation 34) rotate queries and keys of self-attention by an angle
# that grows with the position, so that their dot product depends on the distance.
#
# The sizes are in `options.model`, and the mechanism is in `options.attention`. To train with another mechanism, add
# `attention=changed(options.attention, mechanism="additive")` to what Set-up changes in `options`.

# %%
config = training.configure(options, WORK / "vocab")
torch.manual_seed(options.seed)
model = build(config)
counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
print(f"layers {config.layers} + {config.decoder_layers}, width {config.width}, heads {config.heads}, {counts}")

batch = data["train"][[0, 1, 2]]
hidden, seen = model(batch.source, batch.source_mask, batch.target[:, :-1], weights=True)
pd.DataFrame(
    {
        "shape": [tuple(t.shape) for t in (batch.source, hidden, model.project(hidden), seen.cross[0])],
        "axes": ["B, Ls", "B, Lt, W", "B, Lt, vocabulary", "B, H, Lt, Ls"],
    },
    index=["source ids", "what the decoder made", "score of each next token", "weights of cross-attention"],
)

# %% [markdown]
# ## Trainer
#
# *What does training do, step by step?*
#
# The loss is the cross-entropy: $-\log p$ of the correct next token, averaged over all positions. Its unit is the nat.
# A model that gives every token the same probability has a loss of $\log(\text{vocabulary size})$ nats. A new model
# starts above that, because its guesses are confident and wrong. One step computes the loss of a batch and its
# gradients, and moves every parameter a little in the direction that lowers the loss. The loop below is the heart of
# every trainer:

# %%
task = TASKS["translation"]
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
batch = data["train"][buckets[0]]
for step in range(1, 11):
    loss = task.loss(model, batch, 0.0).smoothed / data["train"].predictions(buckets[0])  # a mean
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step in (1, 10):
        print(f"step {step:2}: {float(loss.detach()):.1f} nats (knows nothing: {math.log(config.vocabulary):.1f})")

# %% [markdown]
# Ten steps on one batch already lower its loss. The project's training loop, `attention_lab.training`, adds what
# training in earnest needs: batches of all rows in a new order every epoch, a learning rate that rises and falls,
# clipped gradients, validation after each epoch, the best parameters kept, and a state on disk from which an
# interrupted training resumes.
#
# You can also use `transformers.Trainer`. Wrapped in `LabForSeq2SeqLM`, the same model works with that library:

# %% tags=["varies"]
torch.manual_seed(options.seed)
wrapped = LabForSeq2SeqLM.of(build(config))
rows = [
    {"input_ids": tokenizer(source)["input_ids"], "labels": tokenizer(target)["input_ids"][1:]}
    for source, target in zip(parts["train"]["source"][:640], parts["train"]["target"][:640], strict=True)
]
arguments = transformers.TrainingArguments(
    output_dir=str(WORK / "trainer"), max_steps=20, per_device_train_batch_size=32, learning_rate=2e-3,
    logging_steps=10, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=place.type == "cpu",
)  # fmt: skip
trainer = transformers.Trainer(
    wrapped, arguments, train_dataset=rows, data_collator=transformers.DataCollatorForSeq2Seq(tokenizer, padding=True)
)
trainer.remove_callback(transformers.PrinterCallback)
trainer.train()
print([f"step {entry['step']}: {entry['loss']:.2f} nats" for entry in trainer.state.log_history if "loss" in entry])

# %% [markdown]
# ## Training
#
# *Does it learn, and how do we see it?*
#
# `training.fit` is the train stage of the pipeline. It starts from new parameters. Two numbers show its progress: the
# **loss**, and the **accuracy**, the share of positions whose most probable next token is correct. On training rows
# they show whether the model learns; on validation rows, whether what it learned holds for new sentences.

# %% tags=["varies"]
result = training.fit(config, options, WORK / "encoded", WORK / "vocab", WORK / "model", WORK / "unfinished")
curve = pd.DataFrame(result.valid_curve).set_index("epoch").drop(columns="step")
curve.round(3)

# %% tags=["varies"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
steps, epochs = [p["step"] for p in result.train_curve], [p["step"] for p in result.valid_curve]
for axes, name, unit in ((left, "loss", "nats per token"), (right, "accuracy", "share of right tokens")):
    axes.plot(steps, [p[name] for p in result.train_curve], color="0.65", label="training, mean of 10 steps")
    axes.plot(epochs, [p[f"valid_{name}"] for p in result.valid_curve], "o-", label="validation, after each epoch")
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.set_title(name.capitalize())
left.axhline(result.metrics["trivial_loss"], linestyle=":", color="black", label="knows word frequencies only")
left.set_ylim(0)
right.set_ylim(0, 1)
left.legend()
right.legend(loc="lower right")
plt.show()

# %% [markdown]
# The dotted line is a model that knows only how often each word occurs. Validation follows training closely, and at the
# end stays a little behind: most of what the model learned holds for new sentences, and some of it only for the
# training sentences.
#
# ## Evaluation
#
# *How good is it?*
#
# The loss judges single tokens, each given the correct words before it. What matters is the whole translation that the
# model writes on its own. To find a probable translation, it keeps the four best beginnings at each step (beam search).
# **BLEU** (0 to 100) compares it with the reference: it counts how many sequences of one to four words they share. The
# brackets hold the 95 % interval. A score means little without a baseline, so the untranslated source is scored as
# well.

# %% tags=["varies"]
translator = Predictor(WORK / "model")
wanted = changed(options.evaluate, split="test", beams=4)
answers = evaluation.predict(translator, WORK / "encoded", parts["test"], translation, wanted)
found = evaluation.measure(translator, answers, parts["train"], wanted, options.seed)
between = f"[{found['score_low']:.1f}, {found['score_high']:.1f}]"
print(
    f"BLEU {found['bleu']:.1f} {between} on {found['examples']} sentences, {found['exact_match']:.0%} right to the word"
)
print(f"the source, untranslated: BLEU {found['baseline']['bleu']:.1f}")
wrong = answers[answers["prediction"] != answers["target"]]
wrong[["source", "prediction", "target"]].head(4)

# %% [markdown]
# Look at the errors, not only at the number: they show what the model has not learned yet.
#
# **Accuracy and F1** are for classes. The same steps, with `task` set to sentiment, train an encoder with a classifier
# on top. The precision $p$ of a class is the share of texts predicted as this class that belong to it. Its recall $r$
# is the share of texts of this class that are predicted as such. Then $F_1 = 2pr / (p + r)$, and macro F1 is the mean
# over the classes.

# %% tags=["varies"]
of_sentiment = changed(
    options,
    task="sentiment",
    model=changed(options.model, layers=2, width=64, feedforward=128),
    train=changed(options.train, epochs=6),
)
kept_texts, _ = cleaning.clean(sentiment_rows, sentiment, options.clean)
where = splitting.assign(kept_texts, sentiment, options.split, options.seed)
texts_by_split = {name: kept_texts[where == name].reset_index(drop=True) for name in records.SPLITS}
folder = WORK / "sentiment"
words = vocabulary.train(texts_by_split["train"]["text"], options.vocab, cleaning.normaliser(options.clean))
vocabulary.save(words, folder / "vocab")
vocabulary.save_labels(labels, folder / "vocab")
for name, part in texts_by_split.items():
    table, _ = encoding.encode(part, sentiment, words, labels, options.encode)
    encoding.write(table, folder / "encoded" / f"{name}.arrow")
classifier_config = training.configure(of_sentiment, folder / "vocab")
training.fit(
    classifier_config, of_sentiment, folder / "encoded", folder / "vocab", folder / "model", folder / "unfinished"
)
classifier = Predictor(folder / "model")
judged = evaluation.predict(classifier, folder / "encoded", texts_by_split["test"], sentiment, wanted)
measured = evaluation.measure(classifier, judged, texts_by_split["train"], wanted, options.seed)
pd.DataFrame(
    {
        "what": ["attention", measured["classical"]["what"], measured["baseline"]["what"]],
        "accuracy": [measured["accuracy"], measured["classical"]["accuracy"], measured["baseline"]["accuracy"]],
        "macro F1": [measured["f1_macro"], measured["classical"]["f1_macro"], measured["baseline"]["f1_macro"]],
    }
).round(3)

# %% tags=["varies"]
confusion = [[measured["confusion"][actual][predicted] for predicted in labels] for actual in labels]
figure, axes = plt.subplots(figsize=(4.4, 3.6))
axes.imshow(confusion, cmap="Blues", vmin=0)
for row, line in enumerate(confusion):
    for column, count in enumerate(line):
        axes.text(column, row, count, ha="center", va="center", color="white" if count > 200 else "black", fontsize=14)
axes.set_xticks(range(2), labels)
axes.set_yticks(range(2), labels)
axes.set_xlabel("predicted")
axes.set_ylabel("actual")
axes.set_title("Sentiment: number of test texts")
plt.show()

# %% [markdown]
# Both classes occur equally often, so guessing gives an accuracy of 0.5. Counting words and pairs of words (tf-idf)
# goes a long way. But counting cannot see which words belong together when they stand apart, as in “Nobody would call
# the room unpleasant.” Connecting such words is what attention is for. (By default the class is read from the mean of
# all positions. Set `layers=1, pooling="first"` above and try again: now it is read from the first position alone,
# which looks at all words once, before any of them has looked at its negation.)
#
# ## Inference
#
# *What does it say about new text?*
#
# `Predictor` loads a model with its tokenizer and takes plain text. The first sentence is the one from above. The last
# one contains an unknown word: the model never saw “robot” and has to guess.

# %% tags=["varies"]
new = [SENTENCE, "Yesterday the girl did not drink water.", "The old robot sees a small cat."]
pd.DataFrame({"source": new, "prediction": [answer["prediction"] for answer in translator.predict(new, beams=4)]})

# %% tags=["varies"]
new = ["The room was pleasant.", "The room was not pleasant.", "Nobody would call the room unpleasant."]
pd.DataFrame({"text": new}).join(pd.DataFrame(classifier.predict(new))[["prediction", "probability"]]).round(3)

# %% [markdown]
# ## Interpretability
#
# *Where did the model look, and what does that tell us?*
#
# Cross-attention has a row for each target word and a column for each source word. The picture also shows what the
# grammar knows: outlined cells are the known alignment.

# %% tags=["varies"]
translator.model.to("cpu")


def looked(name):
    """What the model looked at in the rows of a split, and the known alignments."""
    gold = {row: pairs for row, pairs in zip(parts[name]["row"], parts[name]["alignment"], strict=True) if pairs}
    return list(collect(translator.model, encoded[name], parts[name], tokenizer, translation, "cpu")), gold


valid_rows, valid_gold = looked("valid")
test_rows, test_gold = looked("test")
right = answers[(answers["prediction"] == answers["target"]) & answers["target"].str.contains(" hat .* nicht ")]
name = right["row"].iloc[0] if len(right) else answers["row"].iloc[0]
row = next(row for row in test_rows if row.row == name)
gold = torch.zeros(len(row.target.words), len(row.source.words), dtype=torch.bool)
for source_word, target_word in test_gold[name]:
    gold[target_word, source_word] = True
Image(
    heatmap.weights_map(
        row.cross_words("predicting")[0].mean(0), row.target.words, row.source.words, gold=gold.numpy(),
        title="Cross-attention of a test sentence, mean of the heads\nOutlined: the known alignment",
        query_name="target word that is being written (query)", key_name="source word (key)",
    ),
    width=560, alt="A map of cross-attention, target words by source words, with the known alignment outlined.",
)  # fmt: skip

# %% [markdown]
# Where the darkest cell of a row has no outline, attention and grammar disagree about that word. A row can sum to less
# than 1, because the weights of `<s>`, `</s>` and punctuation are not shown.
#
# One sentence is only an anecdote. The **alignment error rate** (Och and Ney 2003, *A systematic comparison of various
# statistical alignment models*, “Evaluation Methodology”) measures all of them. Link words by the largest weight, for
# example every target word to the source word that it looks at most, and compare these links with the known ones:
#
# $$\mathrm{AER} = 1 - \frac{2\,|A \cap S|}{|A| + |S|}$$
#
# with the set $A$ of links found and the set $S$ of known links, both as pairs (source word, target word). 0 is best.
# (The full formula also has a term for links that are merely possible; here all known links are sure.)
#
# **Your turn: the error rate.** Compute it from the set of links found and the set of known links.


# %% tags=["exercise"]
def alignment_error(found: set[tuple[int, int]], sure: set[tuple[int, int]]) -> float:
    """1 − 2·|A ∩ S| / (|A| + |S|)"""
    raise NotImplementedError


check(alignment_error)

# %% [markdown]
# A model has weights in many places: in each layer and head, and for each target word in two rows, one that *predicts*
# the word and one that *reads* it, when the word is the decoder's input for the next step. Picking the best place on
# the test sentences would flatter the result. So every choice is made on validation sentences; the error rate is then
# measured on test sentences, and compared with chance and with the diagonal (the word at the same relative position).

# %% tags=["varies"]
error = alignment.measure(
    alignment.count(valid_rows, valid_gold), alignment.count(test_rows, test_gold), resamples=500, seed=options.seed
)
print(alignment.sentence(error))
Image(
    heatmap.candidates_map(
        [torch.tensor(table).numpy() for table in error["grid"]],
        ["row that predicts the word", "row that reads the word"],
        title="Alignment error rate on test sentences, by head (darker is better)",
        value_name="alignment error rate",
    ),
    width=900,
    alt="A map of alignment error rates, rows of weights by heads.",
)

# %% [markdown]
# Read one row later, the same weights are no alignment at all. So a picture of attention means little unless it says
# which row it shows.
#
# Does the model *need* these weights? Agreement does not show a cause, so we intervene: we remove each head of the
# cross-attention in turn, then all of them, and count how many next tokens are still right.

# %% tags=["varies"]
cross = translator.model.decoder.blocks[0].cross


@torch.inference_mode()
def accuracy_without(heads):
    """The share of right next tokens on validation rows, with the output of these heads set to 0."""
    kept_weights, width = cross.output.weight.clone(), config.width // config.heads
    for head in heads:
        cross.output.weight[:, head * width : (head + 1) * width] = 0.0
    correct = sum(int(task.loss(translator.model, data["valid"][r], 0.0).correct) for r in valid_batches)
    cross.output.weight.copy_(kept_weights)
    return correct / sum(data["valid"].predictions(r) for r in valid_batches)


valid_batches = TokenBuckets(data["valid"].lengths, 4000).epoch(0)
removed = {"none": [], **{f"head {head + 1}": [head] for head in range(config.heads)}, "all": range(config.heads)}
accuracy = {name: accuracy_without(heads) for name, heads in removed.items()}
figure, axes = plt.subplots(figsize=(6, 3))
bars = axes.bar(accuracy.keys(), accuracy.values(), color=["C0"] + ["0.7"] * (len(accuracy) - 1))
axes.bar_label(bars, fmt="%.2f")
axes.set_ylim(0, 1.1)
axes.set_xlabel("what is taken away from cross-attention")
axes.set_ylabel("accuracy of the next token")
axes.set_title("How much does the model need its cross-attention?")
plt.show()

# %% [markdown]
# Remove any single head, and little is lost: the others make up for most of it. Remove all of them, and the decoder,
# cut off from the source, can only guess how German sentences go on. So the model needs its cross-attention. That does
# not show that it needs any particular weight.
#
# **What may be concluded.** The package writes the following sentences from the numbers. (“The table of methods” is in
# the pipeline's report, which compares weights with other methods of explaining a model.)

# %% tags=["varies"]
for sentence in alignment.reading(error):
    print(textwrap.fill(sentence, 100, initial_indent="- ", subsequent_indent="  "))

# %% [markdown]
# Beyond this corpus, be careful:
#
# - A weight says that a value was *mixed in*, not that it changed the answer. The value may be small, or cancelled
#   later.
# - By the second layer, a position no longer stands for its word alone: it has already looked at others.
# - Other weights can lead to the same answer (Jain and Wallace 2019,
#   [arXiv 1902.10186](https://arxiv.org/abs/1902.10186)), so weights are not “the” explanation.
# - What you see depends on the mechanism, the row, the head and the seed. Measure before you point at a picture.
#
# ## Conclusion
#
# *What should you remember?*
#
# - Attention is a weighted sum. Scores say how well keys answer a query, a normaliser turns them into weights, and the
#   output is the weighted sum of the values.
# - Mechanisms differ in a few choices: the score (dot, additive), the normaliser (softmax, sparsemax, sink), who may
#   look at whom (causal, local), and how positions enter (ALiBi, rotary). Linear attention replaces the softmax and
#   changes the order of the computation.
# - The scale $1/\sqrt{D}$ and the masks look like details, but mistakes there are easy to make and hard to see.
# - A tensor of the right shape proves little. Compare its numbers with those of a reference.
# - A score alone says little as well: report an interval and a baseline with it.
# - Read weights as an alignment only where that was measured.
#
# These are the measurements of this notebook, each with a baseline:

# %% tags=["varies"]
pd.DataFrame(
    [
        ("translation, BLEU", found["bleu"], found["baseline"]["bleu"], found["baseline"]["what"]),
        ("sentiment, accuracy", measured["accuracy"], measured["classical"]["accuracy"], measured["classical"]["what"]),
        ("alignment error rate (0 is best)", error["error_rate"], error["diagonal"], "the diagonal"),
        ("accuracy of the next token", accuracy["none"], accuracy["all"], "the same without cross-attention"),
    ],
    columns=["measure", "the model", "beside it", "what stands beside it"],
).round(3)

# %% [markdown]
# **Applications beyond this notebook.** The same layer reads images cut into patches, sound cut into frames, proteins
# as sequences of amino acids, tables and graphs. Only what counts as a “word” changes.
#
# **Directions.** *Longer texts:* windows, linear attention, and memories of constant size such as DeltaNet (`deltanet`
# in the catalogue). *Less memory in decoding:* keys and values shared by groups of heads (`grouped_query`) or computed
# from one narrow vector (`latent`). *Better explanations:* methods that follow values and gradients, and not weights
# alone.
#
# **Continue with the project.** In a terminal, in the project's folder:
#
# ```sh
# make repro                                            # the whole pipeline, on more data, with a report
# attention-lab mechanisms sparsemax                    # one mechanism: parts, options, picture
# dvc exp run -S attention.mechanism=sparsemax          # train with it
# dvc exp run -S task=sentiment                         # another task
# attention-lab compare                                 # all experiments side by side
# ```
#
# `docs/theory/` explains the mechanisms, roughly in the order in which they appeared; `docs/howto/extend.md` shows how to
# add your own.
