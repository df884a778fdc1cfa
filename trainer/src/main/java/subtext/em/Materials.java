package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.Chunk;
import subtext.data.Chunker;
import subtext.data.Corpus;
import subtext.data.Document;
import subtext.data.Prepared;
import subtext.data.Taught;
import subtext.data.Template;
import subtext.data.View;
import subtext.evaluate.AnswerTask;
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
            if (isPrepared(config.corpus())) {
                if (!config.corpus().answer().isEmpty()) {
                    notice.accept("corpus.answer: " + config.corpus().path() + " was prepared, which keeps no answers:"
                            + " no accuracy is measured; give the files themselves for that");
                }
                return prepared(config.corpus(), seeds, given, notice);
            }
            int positions =
                    origin.map(o -> o.config().context()).orElse(config.model().context());
            return file(config.corpus(), seeds, given, config.em().maxThought(), positions, notice);
        }
        if (!config.corpus().thoughts().isEmpty()) {
            throw new EngineException.InvalidConfig(
                    "corpus.thoughts: there is no corpus to learn from beside it; name one by --corpus");
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
            public List<Boolean> answers(Completer model, boolean thinking) {
                return (thinking ? task.withThought(model) : task.withoutThought(model))
                        .verdicts().stream().map(ChainWorld.Verdict::answer).toList();
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
        Chunker chunker = cutter(c);
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
            public List<Boolean> answers(Completer model, boolean thinking) {
                return List.of(); // a chunk may hold several answers: the token form has the task
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

    /** What cuts the texts of a corpus, held-out ones too; empty if a text is one chunk. */
    static Optional<Chunker> chunker(RunConfig.Corpus c) {
        if (!c.chunked()) {
            return Optional.empty();
        }
        if (!c.thought().isEmpty()) {
            throw new EngineException.InvalidConfig(
                    "corpus.chunked: expected false where corpus.thought gives one thought for the whole text of a record;"
                            + " a file with a thought for each chunk is named by corpus.thoughts");
        }
        return Optional.of(cutter(c));
    }

    static Chunker cutter(RunConfig.Corpus c) {
        if (!(c.chunkSentences() >= 1)) {
            throw new EngineException.InvalidConfig(
                    "corpus.chunkSentences: expected at least 1, got " + c.chunkSentences());
        }
        return new Chunker(Seeds.chunks(), c.chunkSentences(), MOST_SENTENCES);
    }

    private static Material file(
            RunConfig.Corpus c,
            Seeds seeds,
            Optional<Tokenizer> given,
            int maxThought,
            int positions,
            Consumer<String> notice) {
        requireOneKindOfThoughts(c);
        boolean apart = !c.thoughts().isEmpty();
        Template thought = Template.parse("corpus.thought", c.thought());
        if (thought.isEmpty() && !apart) {
            throw new EngineException.InvalidConfig(
                    "corpus.thought: empty; EM starts from the thoughts of a first part of the corpus: say which"
                            + " field holds them, such as --set corpus.thought={thought}, or name a file of documents in chunks"
                            + " with thoughts by corpus.thoughts");
        }
        Optional<Chunker> chunker = chunker(c);
        if (chunker.isPresent() && !c.answer().isEmpty()) {
            throw new EngineException.InvalidConfig(
                    "corpus.answer: expected corpus.chunked=false, where a text is given"
                            + " behind one thought; leave the answer out by --set corpus.answer=\"\"");
        }
        Optional<WarmStart> taught = apart ? Optional.of(taught(c, seeds, notice)) : Optional.empty();
        Corpus.Mapping mapping = mapping(c, thought);
        Corpus corpus = Corpus.read(
                c.path(),
                new Corpus.Mapping(
                        mapping.context(),
                        mapping.text(),
                        mapping.thought(),
                        Template.parse("corpus.answer", c.answer()),
                        mapping.id(),
                        false),
                skipBad(c));
        if (corpus.skipped() > 0) {
            notice.accept("corpus: left out " + corpus.skipped() + " bad records, the first: " + corpus.firstProblem());
        }
        List<Corpus.Record> records = new ArrayList<>();
        for (int i : Philox.permutation(seeds.split(), corpus.records().size())) {
            records.add(corpus.records().get(i));
        }
        int needed = c.dev() + c.heldOut() + (apart ? 0 : c.warmStart());
        int documents = c.documents() == 0 ? records.size() - needed : c.documents();
        if (!apart && c.warmStart() < 1
                || c.dev() < 1
                || c.heldOut() < 1
                || documents < 1
                || needed + documents > records.size()) {
            throw new EngineException.InvalidConfig("corpus: " + c.path() + " has " + records.size()
                    + " usable documents; " + (apart ? "" : "warmStart " + c.warmStart() + ", ") + "documents "
                    + c.documents() + ", dev " + c.dev() + " and heldOut " + c.heldOut()
                    + " must each be at least 1 (documents 0: the rest) and fit in it");
        }
        // held-out first: a longer warm start or corpus leaves it as it was
        List<Corpus.Record> held = records.subList(0, c.heldOut());
        List<Corpus.Record> dev = records.subList(c.heldOut(), c.heldOut() + c.dev());
        List<Corpus.Record> warm = records.subList(c.heldOut() + c.dev(), needed);
        List<Corpus.Record> rest = records.subList(needed, needed + documents);
        Tokenizer tokenizer = given.orElseGet(() -> {
            BpeTrainer trainer = new BpeTrainer();
            warm.forEach(record -> trainer.add(record.context())
                    .add(record.text())
                    .add(record.thought().orElse("")));
            taught.ifPresent(start -> start.teach(trainer));
            return trainer.train(vocabulary(c));
        });
        return new Material(
                tokenizer,
                taught.map(start -> start.documents(tokenizer))
                        .orElseGet(() -> warm.stream()
                                .map(record -> Annotated.with(
                                        document(record, chunker, tokenizer),
                                        List.of(tokenizer.encodeContinuation(
                                                record.thought().orElseThrow()))))
                                .toList()),
                documents(rest, chunker, tokenizer),
                documents(dev, chunker, tokenizer),
                documents(held, chunker, tokenizer),
                Optional.empty(),
                true,
                answers(held, tokenizer, maxThought, positions));
    }

    /** The held-out questions with their answers, with room for a text as long as the longest that was written for one of them. */
    private static Optional<AnswerTask> answers(
            List<Corpus.Record> held, Tokenizer tokenizer, int maxThought, int positions) {
        List<AnswerTask.Problem> problems = new ArrayList<>();
        int longest = 0;
        for (Corpus.Record record : held) {
            if (record.answer().isPresent()) {
                List<Chunk> chunks =
                        document(record, Optional.empty(), tokenizer).chunks();
                longest = Math.max(longest, chunks.getLast().text().size());
                problems.add(new AnswerTask.Problem(
                        chunks.size() > 1 ? chunks.getFirst().text() : Tokens.EMPTY,
                        record.answer().get()));
            }
        }
        int room = positions - maxThought - AnswerTask.MARKERS;
        return problems.isEmpty() || room < 2 // too short a context is refused where questions are made
                ? Optional.empty()
                : Optional.of(
                        new AnswerTask(tokenizer, problems, maxThought, Math.min(longest + 1, room / 2), positions));
    }

    static List<Document> documents(List<Corpus.Record> records, Optional<Chunker> chunker, Tokenizer tokenizer) {
        return records.stream()
                .map(record -> document(record, chunker, tokenizer))
                .toList();
    }

    /** The context of a record, if it has one, as a chunk without a thought; then its text, whole or cut. */
    private static Document document(Corpus.Record record, Optional<Chunker> chunker, Tokenizer tokenizer) {
        List<Chunk> chunks = new ArrayList<>();
        if (!record.context().isEmpty()) {
            Chunk.add(chunks, tokenizer, record.context(), false);
        }
        for (String text : chunker.map(cutter -> cutter.cut(record.text())).orElse(List.of(record.text()))) {
            Chunk.add(chunks, tokenizer, text, true);
        }
        return new Document(record.id(), chunks);
    }

    // ---- documents in chunks with thoughts, in files of their own

    /** The documents of such files that a seed takes. */
    private record WarmStart(Taught taught, int[] places) {
        void teach(BpeTrainer trainer) {
            taught.teach(trainer, places);
        }

        List<Annotated> documents(Tokenizer tokenizer) {
            return taught.documents(tokenizer, places);
        }
    }

    static void requireOneKindOfThoughts(RunConfig.Corpus c) {
        if (!c.thoughts().isEmpty() && !c.thought().isEmpty()) {
            throw new EngineException.InvalidConfig(
                    "corpus.thought: expected none beside corpus.thoughts, which names the"
                            + " documents of the warm start: leave one of them out");
        }
    }

    private static WarmStart taught(RunConfig.Corpus c, Seeds seeds, Consumer<String> notice) {
        Taught taught = Taught.scan(c.thoughts(), c.id(), skipBad(c));
        if (taught.skipped() > 0) {
            notice.accept("corpus.thoughts: left out " + taught.skipped() + " bad records, the first: "
                    + taught.problems().getFirst());
        }
        return new WarmStart(taught, warmPlaces(c, c.thoughts(), taught.size(), seeds));
    }

    /** The documents that a seed takes of those with thoughts in files of their own. */
    private static int[] warmPlaces(RunConfig.Corpus c, String of, int size, Seeds seeds) {
        if (c.warmStart() < 0 || c.warmStart() > size) {
            throw new EngineException.InvalidConfig("corpus.warmStart: expected at most " + size
                    + ", the usable documents of " + of + " (0: all of them), got " + c.warmStart());
        }
        int[] order = Philox.permutation(seeds.split(), size);
        return c.warmStart() == 0 ? order : Arrays.copyOf(order, c.warmStart());
    }

    // ---- a folder that prepare made

    static boolean isPrepared(RunConfig.Corpus c) {
        return Prepared.isAt(Path.of(c.path()));
    }

    /** What of a corpus is not there yet: its documents, or those of its warm start. */
    static Optional<String> missing(RunConfig.Corpus c) {
        if (c.path().isEmpty()) {
            return Optional.empty();
        }
        if (!Files.exists(Path.of(c.path()))) {
            return Optional.of(c.path());
        }
        return readsThoughts(c) && !Files.exists(Path.of(c.thoughts())) ? Optional.of(c.thoughts()) : Optional.empty();
    }

    /** Whether the warm start is read from files of its own, which are not in the shards of the corpus. */
    static boolean readsThoughts(RunConfig.Corpus c) {
        return !c.thoughts().isEmpty() && !(isPrepared(c) && hasWarmStart(open(c, Optional.empty()), c));
    }

    /** Whether there are shards of the warm start: they stand for the files they were made of. */
    private static boolean hasWarmStart(Prepared prepared, RunConfig.Corpus c) {
        return !prepared.warmStart().isEmpty()
                && (c.thoughts().isEmpty()
                        || c.thoughts().equals(prepared.statistics().thoughts()));
    }

    /**
     * Its held-out side is measured on; the other is shuffled and dealt to early stopping, warm start and EM, to EM alone if the warm start has
     * files of its own.
     */
    private static Material prepared(
            RunConfig.Corpus c, Seeds seeds, Optional<Tokenizer> given, Consumer<String> notice) {
        requireOneKindOfThoughts(c);
        Prepared prepared = open(c, given);
        boolean shards = hasWarmStart(prepared, c);
        boolean apart = shards || !c.thoughts().isEmpty();
        Optional<List<Annotated>> taught = !apart
                ? Optional.empty()
                : Optional.of(
                        shards
                                ? View.pick(
                                        prepared.warmStart(),
                                        warmPlaces(
                                                c,
                                                c.path(),
                                                prepared.warmStart().size(),
                                                seeds))
                                : taught(c, seeds, notice).documents(prepared.tokenizer()));
        int size = prepared.train().size();
        int needed = c.dev() + (apart ? 0 : c.warmStart());
        int documents = c.documents() == 0 ? size - needed : c.documents();
        if (!apart && c.warmStart() < 1
                || c.dev() < 1
                || c.heldOut() < 1
                || documents < 1
                || needed + documents > size
                || c.heldOut() > prepared.heldOut().size()) {
            throw new EngineException.InvalidConfig("corpus: " + c.path() + " has " + size
                    + " documents to train on and " + prepared.heldOut().size() + " held out; dev " + c.dev()
                    + (apart ? "" : ", warmStart " + c.warmStart()) + " and documents " + c.documents()
                    + " (0: the rest) must fit in the first, heldOut " + c.heldOut()
                    + " in the second, each at least 1; prepare holds out more by --held-out");
        }
        int[] order = Philox.permutation(seeds.split(), size);
        List<Annotated> warm =
                taught.orElseGet(() -> View.pick(prepared.train(), Arrays.copyOfRange(order, c.dev(), needed)));
        if (!apart) {
            requireThoughts(warm, c);
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

    private static void requireThoughts(List<Annotated> warm, RunConfig.Corpus c) {
        for (Annotated document : warm) {
            for (int i = 0; i < document.thoughts().size(); i++) {
                if (document.document().chunks().get(i).latent()
                        && document.thoughts().get(i).isEmpty()) {
                    throw new EngineException.InvalidConfig("corpus: " + c.path()
                            + " was prepared without thoughts; EM starts from the thoughts of a first part: prepare it"
                            + " with --set corpus.thought={thought}, or name a file of documents in chunks with thoughts by"
                            + " corpus.thoughts");
                }
            }
        }
    }

    /** The whole of it as text alone. */
    static Material preparedText(RunConfig.Corpus c, Seeds seeds, Optional<Tokenizer> given, Consumer<String> notice) {
        Prepared prepared = open(c, given);
        if (prepared.heldOut().isEmpty()) {
            throw new EngineException.InvalidConfig(
                    "corpus: " + c.path() + " has nothing held out to measure on; prepare it with a larger --held-out");
        }
        int[] order = Philox.permutation(seeds.split(), prepared.train().size());
        int documents = c.documents() == 0
                ? order.length
                : atMost(order.length, c.documents(), "documents", "all there are to train on", notice);
        atMost(prepared.heldOut().size(), c.heldOut(), "heldOut", "all that are held out", notice);
        return new Material(
                prepared.tokenizer(),
                List.of(),
                texts(View.pick(prepared.train(), Arrays.copyOf(order, documents))),
                List.of(),
                heldOut(prepared, c, seeds),
                Optional.empty(),
                true);
    }

    /** A number of documents that is asked for, or the most there are; then a person is told. */
    static int atMost(int most, int asked, String key, String why, Consumer<String> notice) {
        if (asked < 1) {
            throw new EngineException.InvalidConfig("corpus." + key + ": expected at least 1, got " + asked);
        }
        if (asked > most) {
            notice.accept("corpus." + key + ": " + asked + " asked for, " + most + " taken: " + why);
        }
        return Math.min(most, asked);
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
            if (given.isPresent() && !Prepared.digest(given.get()).equals(Prepared.digest(prepared.tokenizer()))) {
                throw new EngineException.InvalidConfig(
                        "corpus: " + c.path()
                                + " was prepared with another tokenizer than that of the model to start from; prepare it with --from MODEL");
            }
            requireAsPrepared(c, Prepared.plan(prepared.folder()));
            return prepared;
        } catch (IOException e) {
            throw new UncheckedIOException(c.path() + ": " + e.getMessage(), e);
        }
    }

    /** Settings that shards have behind them do nothing any more: one that asks for something else is refused, the usual ones ask for nothing. */
    private static void requireAsPrepared(RunConfig.Corpus c, Map<String, String> plan) {
        if (plan.isEmpty()) {
            return;
        }
        RunConfig.Corpus usual = RunConfig.chain().corpus();
        requireAsPrepared(c, "context", plan.get("context"), c.context(), usual.context());
        requireAsPrepared(c, "text", plan.get("text"), c.text(), usual.text());
        requireAsPrepared(c, "thought", plan.get("thought"), c.thought(), usual.thought());
        requireAsPrepared(c, "id", plan.get("id"), c.id(), usual.id());
        requireAsPrepared(c, "badRecords", plan.get("badRecords"), c.badRecords(), usual.badRecords());
        boolean whole = plan.get("chunks").equals("whole");
        requireAsPrepared(c, "chunked", String.valueOf(!whole), String.valueOf(c.chunked()), "true");
        requireAsPrepared(
                c,
                "chunkSentences",
                whole ? "no chunks" : plan.get("chunks").replaceAll(".*mean=([^,]*),.*", "$1"),
                String.valueOf(c.chunkSentences()),
                String.valueOf(usual.chunkSentences()));
        Matcher trained = Pattern.compile("trained, (\\d+) ids").matcher(plan.get("tokenizer"));
        if (trained.matches()) {
            requireAsPrepared(
                    c,
                    "vocabulary",
                    trained.group(1),
                    String.valueOf(c.vocabulary()),
                    String.valueOf(usual.vocabulary()));
        }
    }

    private static void requireAsPrepared(RunConfig.Corpus c, String key, String made, String asked, String usual) {
        if (!asked.equals(made) && !asked.equals(usual)) {
            throw new EngineException.InvalidConfig("corpus." + key + ": " + c.path() + " was prepared with '" + made
                    + "', got '" + asked + "'; give what it was prepared with, or prepare the corpus again");
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
