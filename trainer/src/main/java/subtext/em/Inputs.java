package subtext.em;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import subtext.data.Corpus;
import subtext.data.Prepared;
import subtext.io.Digest;
import subtext.io.HuggingFace;
import subtext.run.RunConfig;

/** Digests of what a run reads from outside its folder: a run that is gone on with must find there what it began with. */
final class Inputs {
    private Inputs() {}

    /**
     * One digest for each setting that names something outside. Files are read once through, but for a prepared corpus, whose list of
     * digests stands for it.
     */
    static Map<String, String> of(RunConfig config) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        String corpus = config.corpus().path();
        if (!corpus.isEmpty()) {
            digests.put(
                    "corpus.path",
                    Prepared.isAt(Path.of(corpus)) ? Prepared.digest(Path.of(corpus)) : together(Corpus.files(corpus)));
        }
        if (Materials.readsThoughts(config.corpus())) {
            digests.put("corpus.thoughts", together(Corpus.files(config.corpus().thoughts())));
        }
        if (!config.model().from().isEmpty()) {
            digests.put(
                    "model.from",
                    together(HuggingFace.files(Path.of(config.model().from()))));
        }
        return digests;
    }

    /** The digest of the digests of files, in their order; names do not count. */
    private static String together(Iterable<Path> files) throws IOException {
        StringBuilder digests = new StringBuilder();
        for (Path file : files) {
            digests.append(Digest.of(file)).append('\n');
        }
        return Digest.of(digests.toString().getBytes(StandardCharsets.US_ASCII));
    }
}
