package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;
import subtext.text.Tokens;

/** Planted copies are found, what is only similar is not. */
class LeakageTest {
    private static final Tokenizer BYTES =
            new BpeTrainer().add("a text to learn bytes from").train(BpeTrainer.SMALLEST);

    private static Document document(String id, String context, String... chunks) {
        List<Chunk> all = new ArrayList<>();
        if (!context.isEmpty()) {
            all.add(new Chunk(BYTES.encode(context), false));
        }
        for (String chunk : chunks) {
            all.add(new Chunk(BYTES.encode(chunk), true));
        }
        return new Document(id, all);
    }

    /** So many words that stand in no other run of words. */
    private static String words(String stem, int from, int to) {
        StringBuilder text = new StringBuilder();
        for (int i = from; i < to; i++) {
            text.append(stem).append(i).append(' ');
        }
        return text.toString();
    }

    @Test
    void copiesAreFoundAndNamed() {
        List<Document> heldOut = List.of(
                document("whole", "What is two and two? ", "Four."),
                document("run", "", words("a", 0, 20)),
                document("almost", "", words("b", 0, 20)),
                document("taught", "", words("c", 0, 30)),
                document("border", "", words("d", 0, 20)),
                document("clean", "What is three and three? ", "Six."));
        List<Document> training = List.of(
                document("t0", "what is TWO, and two - ", "four"), // but for case and punctuation
                document("t1", "", "before " + words("a", 3, 16) + "after"), // 13 words
                document("t2", "", "before " + words("b", 3, 15) + "after"), // 12
                document("t3", "", words("d", 0, 7), words("d", 7, 20)), // over a border of chunks
                document("t4", "What is nine and nine? ", "Six.")); // the same answer to another question
        List<Annotated> shown =
                List.of(Annotated.with(document("w", "", "short"), List.of(BYTES.encode("so " + words("c", 10, 25)))));
        Leakage.Found found = Leakage.inText(heldOut, training, shown, BYTES);
        assertThat(found).isEqualTo(new Leakage.Found(6, 1, 3, 4, List.of("whole", "run", "taught", "border")));
        assertThat(found.share()).isEqualTo(4 / 6.0);
        assertThat(Leakage.inText(heldOut, training.subList(2, 3), List.of(), BYTES)
                        .hit())
                .isZero();
    }

    /** In a made-up world all documents share their pattern: only whole ones count. */
    @Test
    void inAWorldWholeDocumentsCount() {
        List<Document> heldOut = new ArrayList<>();
        List<Document> training = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            int[] ids = new int[20];
            ids[19] = i;
            (i < 10 ? heldOut : training).add(new Document("d" + i, List.of(new Chunk(Tokens.of(ids), true))));
        }
        assertThat(Leakage.inWorld(heldOut, training, List.of()).hit()).isZero();
        training.add(new Document("again", heldOut.get(4).chunks()));
        assertThat(Leakage.inWorld(heldOut, training, List.of()))
                .isEqualTo(new Leakage.Found(10, 1, 0, 1, List.of("d4")));
    }
}
