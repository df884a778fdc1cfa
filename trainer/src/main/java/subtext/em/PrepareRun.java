package subtext.em;

import java.nio.file.Path;
import java.util.function.Consumer;
import subtext.bindings.EngineException;
import subtext.data.Prepare;
import subtext.data.Prepared;
import subtext.data.Template;
import subtext.run.RunConfig;

/** Makes token shards of the corpus of a configuration, which a training then takes as its corpus. */
public final class PrepareRun {
    private PrepareRun() {}

    /**
     * Makes them, goes on making them, or finds them made.
     *
     * @param config its {@code corpus} says what is read and how, its {@code model.from} whose tokenizer is used
     * @param out folder for them
     * @param duplicates which records are left out
     * @param heldOut share of the documents to hold out, 0 to 1
     * @param listener told how far it is
     * @return the shards, complete on disk
     * @throws EngineException naming what cannot be and its cure
     */
    public static Prepared start(
            RunConfig config,
            Path out,
            Prepare.Duplicates duplicates,
            double heldOut,
            Consumer<Prepare.Progress> listener) {
        RunConfig.Corpus c = config.corpus();
        if (c.path().isEmpty()) {
            throw new EngineException.InvalidConfig("corpus.path: empty: there is nothing to prepare");
        }
        Template thought = Template.parse("corpus.thought", c.thought());
        Materials.requireOneKindOfThoughts(c);
        return Prepare.run(
                out,
                new Prepare.Settings(
                        c.path(),
                        c.thoughts(),
                        Materials.mapping(c, thought),
                        Materials.skipBad(c),
                        Materials.chunker(c),
                        duplicates,
                        heldOut,
                        Origin.of(config).map(Origin::tokenizer),
                        Materials.vocabulary(c),
                        Prepare.Settings.SHARD_BYTES),
                listener);
    }
}
