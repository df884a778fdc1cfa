package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Consumer;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.Chunk;
import subtext.data.Chunker;
import subtext.data.Corpus;
import subtext.data.Document;
import subtext.data.Prepared;
import subtext.data.Template;
import subtext.data.View;
import subtext.evaluate.Completer;
import subtext.evaluate.CotTask;
import subtext.random.Philox;
import subtext.run.RunConfig;
import subtext.run.Seeds;
import subtext.text.BpeTrainer;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokenizer;
import subtext.text.Tokens;
import subtext.world.ChainText;
import subtext.world.ChainWorld;

/** Makes the documents of a seed from a configuration: the chain world in tokens, the chain world in text, or a file. */
final class Materials {
    private Materials() {}

    /** @param notice told what a person should know about the data */
    static Material of(RunConfig config, Seeds seeds, Optional<Origin> origin, Consumer<String> notice) {
        Optional<Tokenizer> given = origin.map(Origin::tokenizer);
        if (!config.corpus().path().isEmpty()) {
            return isPrepared(config.corpus())
                    ? prepared(config.corpus(), seeds, given)
                    : file(config.corpus(), seeds, given, notice);
        }
        RunConfig.World w = config.world();
        ChainWorld world = world(w, seeds.seed());
        return switch (w.rendering()) {
            case "tokens" -> {
                if (given.isPresent()) {
                    throw new EngineException.InvalidConfig(
                            "model.from: a model that knows text needs a corpus, or world.rendering=text");
                }
                yield tokens(world, w);
            }
            case "text" -> text(world, w, config.corpus(), given);
            default ->
                throw new EngineException.InvalidConfig(
                        "world.rendering: expected tokens or text, got '" + w.rendering() + "'");
        };
    }

    private static ChainWorld world(RunConfig.World w, long seed) {
        ChainWorld world;
        try {
            world = new ChainWorld(new ChainWorld.Plan(w.states(), w.generators(), w.depth(), w.readouts(), seed));
        } catch (IllegalArgumentException e) {
            throw new EngineException.InvalidConfig("world." + e.getMessage(), e);
        }
        count("warmStart", w.warmStart(), world.splitSize());
        count("documents", w.documents(), world.splitSize());
        count("dev", w.dev(), world.splitSize());
        count("heldOut", w.heldOut(), world.splitSize());
        return world;
    }

    private static void count(String field, int count, long most) {
        if (count < 1 || count > most) {
            throw new EngineException.InvalidConfig(
                    "world." + field + ": expected 1 to " + most + " in a world of this size, got " + count);
        }
    }

    // ---- the chain world, a token per state

    private static Material tokens(ChainWorld world, RunConfig.World w) {
        if (w.taughtRules() < 0 || w.taughtRules() > w.generators()) {
            throw new EngineException.InvalidConfig("world.taughtRules: expected 0.." + w.generators()
                    + ", the rules there are, got " + w.taughtRules());
        }
        if (!(w.teacherErrors() >= 0 && w.teacherErrors() <= 1)) {
            throw new EngineException.InvalidConfig(
                    "world.teacherErrors: expected a share from 0 to 1, got " + w.teacherErrors());
        }
        if (w.teacherErrors() > 0 && w.taughtRules() < w.generators()) {
            throw new EngineException.InvalidConfig(
                    "world.teacherErrors: a teacher slips or lacks rules, not both; set world.taughtRules="
                            + w.generators());
        }
        List<ChainWorld.Problem> held = world.problems(ChainWorld.Split.HELD_OUT, w.heldOut());
        CotTask task = new CotTask(world, held);
        Material.Truth truth = new Material.Truth() {
            @Override
            public Optional<Tokens> thought(String document, int chunk) {
                return chunk == 1 ? Optional.of(world.problem(document).thought()) : Optional.empty();
            }

            @Override
            public List<Document> paraphrases(String document) {
                return world.problem(document).paraphrases();
            }

            @Override
            public OptionalDouble accuracy(Completer model, boolean thinking) {
                return OptionalDouble.of((thinking ? task.withThought(model) : task.withoutThought(model)).accuracy());
            }
        };
        return new Material(
                new SymbolTokenizer(world.symbols()),
                world.problems(ChainWorld.Split.WARM_START, w.warmStart()).stream()
                        .map(problem -> Annotated.with(
                                problem.document(),
                                List.of(
                                        w.teacherErrors() > 0
                                                ? world.slipping(problem, w.teacherErrors())
                                                : world.taught(problem, w.taughtRules()))))
                        .toList(),
                documents(world, ChainWorld.Split.TRAIN, w.documents()),
                documents(world, ChainWorld.Split.DEV, w.dev()),
                held.stream().map(ChainWorld.Problem::document).toList(),
                Optional.of(truth),
                false);
    }

    private static List<Document> documents(ChainWorld world, ChainWorld.Split split, int count) {
        return world.problems(split, count).stream()
                .map(ChainWorld.Problem::document)
                .toList();
    }

    // ---- the chain world in sentences

    private static Material text(ChainWorld world, RunConfig.World w, RunConfig.Corpus c, Optional<Tokenizer> given) {
        ChainText told = new ChainText(world, w.problems());
        Chunker chunker = new Chunker(Seeds.chunks(), c.chunkSentences(), MOST_SENTENCES);
        List<ChainText.TextDocument> warm = told.documents(ChainWorld.Split.WARM_START, w.warmStart());
        BpeTrainer trainer = new BpeTrainer();
        warm.forEach(document -> trainer.add(document.text())
                .add(document.thought(0, document.text().length())));
        Tokenizer tokenizer = given.orElseGet(() -> trainer.train(vocabulary(c)));
        Map<String, List<Tokens>> thoughts = new HashMap<>();
        Cutter cutter = new Cutter(tokenizer, chunker, thoughts);
        List<Document> warmDocuments = warm.stream().map(cutter::document).toList();
        List<Document> corpus = told.documents(ChainWorld.Split.TRAIN, w.documents()).stream()
                .map(cutter::document)
                .toList();
        List<Document> dev = told.documents(ChainWorld.Split.DEV, w.dev()).stream()
                .map(cutter::document)
                .toList();
        List<Document> held = told.documents(ChainWorld.Split.HELD_OUT, w.heldOut()).stream()
                .map(cutter::document)
                .toList();
        Material.Truth truth = new Material.Truth() {
            @Override
            public Optional<Tokens> thought(String document, int chunk) {
                return Optional.ofNullable(thoughts.get(document))
                        .map(all -> all.get(chunk))
                        .filter(z -> !z.isEmpty());
            }

            @Override
            public OptionalDouble accuracy(Completer model, boolean thinking) {
                return OptionalDouble.empty(); // a chunk may hold several answers: the token form has the task
            }
        };
        return new Material(
                tokenizer,
                warmDocuments.stream()
                        .map(document -> Annotated.with(document, thoughts.get(document.id())))
                        .toList(),
                corpus,
                dev,
                held,
                Optional.of(truth),
                true);
    }

    private record Cutter(Tokenizer tokenizer, Chunker chunker, Map<String, List<Tokens>> thoughts) {
        Document document(ChainText.TextDocument told) {
            List<String> chunks = chunker.cut(told.text());
            thoughts.put(
                    told.id(),
                    told.thoughts(chunks).stream()
                            .map(tokenizer::encodeContinuation)
                            .toList());
            List<Chunk> encoded = new ArrayList<>();
            chunks.forEach(chunk -> Chunk.add(encoded, tokenizer, chunk, true));
            return new Document(told.id(), encoded);
        }
    }

    // ---- a file

    /** Most sentences of a chunk. Ruan et al. 2025. */
    static final int MOST_SENTENCES = 20;

    static boolean skipBad(RunConfig.Corpus c) {
        return switch (c.badRecords()) {
            case "stop" -> false;
            case "skip" -> true;
            default ->
                throw new EngineException.InvalidConfig(
                        "corpus.badRecords: expected stop or skip, got '" + c.badRecords() + "'");
        };
    }

    static Corpus.Mapping mapping(RunConfig.Corpus c, Template thought) {
        return new Corpus.Mapping(
                Template.parse("corpus.context", c.context()),
                Template.parse("corpus.text", c.text()),
                thought,
                c.id());
    }

    private static Material file(RunConfig.Corpus c, Seeds seeds, Optional<Tokenizer> given, Consumer<String> notice) {
        if (!c.thoughts().isEmpty()) {
            throw new EngineException.InvalidConfig("corpus.thoughts: " + c.thoughts()
                    + ": chunks with thoughts are not read yet; such settings can be planned by --dry-run");
        }
        Template thought = Template.parse("corpus.thought", c.thought());
        if (thought.isEmpty()) {
            throw new EngineException.InvalidConfig(
                    "corpus.thought: empty; EM starts from the thoughts of a first part of the corpus: say which"
                            + " field holds them, such as --set corpus.thought={thought}");
        }
        if (c.chunked()) {
            throw new EngineException.InvalidConfig(
                    "corpus.chunked: expected false where corpus.thought gives one thought for the whole text of a record");
        }
        Corpus corpus = Corpus.read(c.path(), mapping(c, thought), skipBad(c));
        if (corpus.skipped() > 0) {
            notice.accept("corpus: left out " + corpus.skipped() + " bad records, the first: " + corpus.firstProblem());
        }
        List<Corpus.Record> records = new ArrayList<>();
        for (int i : Philox.permutation(seeds.split(), corpus.records().size())) {
            records.add(corpus.records().get(i));
        }
        int needed = c.warmStart() + c.dev() + c.heldOut();
        int documents = c.documents() == 0 ? records.size() - needed : c.documents();
        if (c.warmStart() < 1
                || c.dev() < 1
                || c.heldOut() < 1
                || documents < 1
                || needed + documents > records.size()) {
            throw new EngineException.InvalidConfig(
                    "corpus: " + c.path() + " has " + records.size() + " usable documents; warmStart "
                            + c.warmStart() + ", documents " + c.documents() + ", dev " + c.dev() + " and heldOut "
                            + c.heldOut()
                            + " must each be at least 1 (documents 0: the rest) and fit in it");
        }
        // held-out first: a longer warm start or corpus leaves it as it was
        List<Corpus.Record> held = records.subList(0, c.heldOut());
        List<Corpus.Record> dev = records.subList(c.heldOut(), c.heldOut() + c.dev());
        List<Corpus.Record> warm = records.subList(c.heldOut() + c.dev(), needed);
        List<Corpus.Record> rest = records.subList(needed, needed + documents);
        BpeTrainer trainer = new BpeTrainer();
        warm.forEach(record -> trainer.add(record.context())
                .add(record.text())
                .add(record.thought().orElse("")));
        Tokenizer tokenizer = given.orElseGet(() -> trainer.train(vocabulary(c)));
        return new Material(
                tokenizer,
                warm.stream()
                        .map(record -> Annotated.with(
                                document(record, tokenizer),
                                List.of(tokenizer.encodeContinuation(
                                        record.thought().orElseThrow()))))
                        .toList(),
                rest.stream().map(record -> document(record, tokenizer)).toList(),
                dev.stream().map(record -> document(record, tokenizer)).toList(),
                held.stream().map(record -> document(record, tokenizer)).toList(),
                Optional.empty(),
                true);
    }

    private static Document document(Corpus.Record record, Tokenizer tokenizer) {
        List<Chunk> chunks = new ArrayList<>();
        if (!record.context().isEmpty()) {
            Chunk.add(chunks, tokenizer, record.context(), false);
        }
        Chunk.add(chunks, tokenizer, record.text(), true);
        return new Document(record.id(), chunks);
    }

    // ---- a folder that prepare made

    static boolean isPrepared(RunConfig.Corpus c) {
        return Prepared.isAt(Path.of(c.path()));
    }

    /** Its held-out side is measured on; the other is shuffled and dealt to early stopping, warm start and EM. */
    private static Material prepared(RunConfig.Corpus c, Seeds seeds, Optional<Tokenizer> given) {
        Prepared prepared = open(c, given);
        int size = prepared.train().size();
        int needed = c.dev() + c.warmStart();
        int documents = c.documents() == 0 ? size - needed : c.documents();
        if (c.warmStart() < 1
                || c.dev() < 1
                || c.heldOut() < 1
                || documents < 1
                || needed + documents > size
                || c.heldOut() > prepared.heldOut().size()) {
            throw new EngineException.InvalidConfig(
                    "corpus: " + c.path() + " has " + size + " documents to train on and "
                            + prepared.heldOut().size() + " held out; dev " + c.dev() + ", warmStart " + c.warmStart()
                            + " and documents " + c.documents()
                            + " (0: the rest) must fit in the first, heldOut " + c.heldOut()
                            + " in the second, each at least 1; prepare holds out more by --held-out");
        }
        int[] order = Philox.permutation(seeds.split(), size);
        List<Annotated> warm = View.pick(prepared.train(), Arrays.copyOfRange(order, c.dev(), needed));
        for (Annotated document : warm) {
            for (int i = 0; i < document.thoughts().size(); i++) {
                if (document.document().chunks().get(i).latent()
                        && document.thoughts().get(i).isEmpty()) {
                    throw new EngineException.InvalidConfig("corpus: " + c.path()
                            + " was prepared without thoughts; EM starts from the thoughts of a first part: prepare it"
                            + " with --set corpus.thought={thought}");
                }
            }
        }
        return new Material(
                prepared.tokenizer(),
                warm,
                texts(View.pick(prepared.train(), Arrays.copyOfRange(order, needed, needed + documents))),
                texts(View.pick(prepared.train(), Arrays.copyOf(order, c.dev()))),
                heldOut(prepared, c, seeds),
                Optional.empty(),
                true);
    }

    /** The whole of it as text alone. */
    static Material preparedText(RunConfig.Corpus c, Seeds seeds, Optional<Tokenizer> given) {
        Prepared prepared = open(c, given);
        if (prepared.heldOut().isEmpty()) {
            throw new EngineException.InvalidConfig(
                    "corpus: " + c.path() + " has nothing held out to measure on; prepare it with a larger --held-out");
        }
        int[] order = Philox.permutation(seeds.split(), prepared.train().size());
        return new Material(
                prepared.tokenizer(),
                List.of(),
                texts(View.pick(
                        prepared.train(),
                        c.documents() == 0 || c.documents() > order.length
                                ? order
                                : Arrays.copyOf(order, c.documents()))),
                List.of(),
                heldOut(prepared, c, seeds),
                Optional.empty(),
                true);
    }

    private static List<Document> heldOut(Prepared prepared, RunConfig.Corpus c, Seeds seeds) {
        int[] order = Philox.permutation(seeds.split(), prepared.heldOut().size());
        return texts(View.pick(prepared.heldOut(), Arrays.copyOf(order, Math.min(c.heldOut(), order.length))));
    }

    private static List<Document> texts(List<Annotated> documents) {
        return View.map(documents, Annotated::document);
    }

    private static Prepared open(RunConfig.Corpus c, Optional<Tokenizer> given) {
        try {
            Prepared prepared = Prepared.open(Path.of(c.path()));
            if (given.isPresent()
                    && !Prepared.digest(given.get())
                            .equals(prepared.statistics().tokenizerSha256())) {
                throw new EngineException.InvalidConfig(
                        "corpus: " + c.path()
                                + " was prepared with another tokenizer than that of the model to start from; prepare it with --from MODEL");
            }
            return prepared;
        } catch (IOException e) {
            throw new UncheckedIOException(c.path() + ": " + e.getMessage(), e);
        }
    }

    static int vocabulary(RunConfig.Corpus c) {
        if (c.vocabulary() < BpeTrainer.SMALLEST) {
            throw new EngineException.InvalidConfig(
                    "corpus.vocabulary: expected at least " + BpeTrainer.SMALLEST + ", got " + c.vocabulary());
        }
        return c.vocabulary();
    }
}
