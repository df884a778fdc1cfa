package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import subtext.random.Draws;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

class BatchLoaderTest {
    private static final int CONTEXT = 7;
    private static final int TOKENS = 23;

    private final List<Annotated> documents = documents(31);

    private BatchLoader loader() {
        return new BatchLoader(
                Dataset.shuffled(documents, new SequenceBuilder(ControlTokens.from(20), 5, 0.5), 9), CONTEXT, TOKENS);
    }

    private static List<Annotated> documents(int count) {
        Draws draws = new Draws(13);
        List<Annotated> documents = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            documents.add(document("d" + i, draws));
        }
        return documents;
    }

    @Test
    void resumingAtAnyCursorGivesTheSameBatches() {
        List<List<Tokens>> whole = new ArrayList<>();
        List<Cursor> cursors = new ArrayList<>();
        Cursor cursor = Cursor.START;
        BatchLoader loader = loader();
        for (int i = 0; i < 120; i++) {
            cursors.add(cursor);
            BatchLoader.Batch batch = loader.load(cursor);
            whole.add(tokens(batch));
            cursor = batch.next();
        }
        assertThat(cursors).as("some batch starts inside a document").anyMatch(c -> c.piece() > 0);
        for (int split = 0; split < cursors.size(); split += 7) {
            BatchLoader fresh = loader();
            Cursor at = cursors.get(split);
            for (int i = split; i < Math.min(split + 9, cursors.size()); i++) {
                BatchLoader.Batch batch = fresh.load(at);
                assertThat(tokens(batch)).isEqualTo(whole.get(i));
                at = batch.next();
            }
        }
    }

    @Test
    void withoutDocumentMaskTheDocumentsAreOneStreamCutAtTheContext() {
        SequenceBuilder builder = new SequenceBuilder(ControlTokens.from(20), 5, 0.5);
        Dataset dataset = Dataset.shuffled(documents, builder, 9);
        List<Integer> stream = new ArrayList<>();
        for (int n = 0; n < 2 * documents.size(); n++) {
            for (int id : dataset.at(n).tokens().toArray()) {
                stream.add(id);
            }
        }
        BatchLoader loader = new BatchLoader(dataset, CONTEXT, TOKENS, false);
        Cursor cursor = Cursor.START;
        int at = 0;
        while (at + TOKENS < stream.size()) {
            BatchLoader.Batch batch = loader.load(cursor);
            assertThat(batch.rows()).isEqualTo(TOKENS / CONTEXT * CONTEXT);
            // a fresh loader at the same place gives the same
            assertThat(tokens(new BatchLoader(Dataset.shuffled(documents, builder, 9), CONTEXT, TOKENS, false)
                            .load(cursor)))
                    .isEqualTo(tokens(batch));
            for (Sequence piece : batch.pieces()) {
                assertThat(piece.tokens())
                        .isEqualTo(Tokens.of(stream.subList(at, at + CONTEXT + 1).stream()
                                .mapToInt(i -> i)
                                .toArray()));
                at += CONTEXT;
            }
            cursor = batch.next();
        }
    }

    @Test
    void anEpochHoldsEveryDocumentOnceAndPredictsEveryTokenOnce() {
        SequenceBuilder builder = new SequenceBuilder(ControlTokens.from(20), 5, 0.5);
        Dataset dataset = Dataset.shuffled(documents, builder, 9);
        BatchLoader loader = new BatchLoader(dataset, CONTEXT, TOKENS);
        for (int epoch = 0; epoch < 3; epoch++) {
            long rows = 0;
            Set<Tokens> seen = new HashSet<>();
            for (int n = 0; n < documents.size(); n++) {
                Sequence sequence = dataset.at((long) epoch * documents.size() + n);
                seen.add(sequence.tokens());
                rows += sequence.rows();
            }
            int now = epoch;
            Set<Tokens> expected = new HashSet<>();
            documents.forEach(
                    document -> expected.add(builder.build(document, now).tokens()));
            assertThat(seen).isEqualTo(expected);
            Cursor cursor = new Cursor((long) epoch * documents.size(), 0);
            long loaded = 0;
            while (cursor.example() < (epoch + 1L) * documents.size()) {
                BatchLoader.Batch batch = loader.load(cursor);
                assertThat(batch.rows()).isLessThanOrEqualTo(TOKENS);
                for (Sequence piece : batch.pieces()) {
                    assertThat(piece.rows()).isBetween(1, CONTEXT);
                }
                loaded += batch.rows();
                cursor = batch.next();
            }
            assertThat(loaded).isBetween(rows, rows + TOKENS);
        }
        assertThat(dataset.at(0).tokens())
                .as("order and coins change with the epoch")
                .isNotEqualTo(dataset.at(documents.size()).tokens());
    }

    @Test
    void piecesOverlapByOneToken() {
        Sequence sequence = new Sequence(Tokens.of(0, 1, 2, 3, 4, 5, 6, 7, 8), new float[9]);
        assertThat(sequence.pieces(3)).isEqualTo(3);
        assertThat(sequence.piece(0, 3).tokens()).isEqualTo(Tokens.of(0, 1, 2, 3));
        assertThat(sequence.piece(1, 3).tokens()).isEqualTo(Tokens.of(3, 4, 5, 6));
        assertThat(sequence.piece(2, 3).tokens()).isEqualTo(Tokens.of(6, 7, 8));
        assertThat(sequence.piece(0, 8)).isSameAs(sequence);
    }

    @Test
    void groupsKeepOrderAndBudget() {
        BatchLoader.Batch batch = loader().load(Cursor.START);
        List<List<Sequence>> groups = batch.groups(9);
        assertThat(groups.stream().flatMap(List::stream).toList()).isEqualTo(batch.pieces());
        assertThat(groups)
                .allSatisfy(group -> assertThat(
                                group.stream().mapToInt(Sequence::rows).sum())
                        .isLessThanOrEqualTo(9));
    }

    /** One to four chunks; about a third take no thought. */
    private static Annotated document(String id, Draws draws) {
        List<Chunk> chunks = new ArrayList<>();
        List<Optional<Annotated.Thought>> thoughts = new ArrayList<>();
        int count = 1 + draws.below(4);
        for (int c = 0; c < count; c++) {
            boolean latent = draws.below(3) > 0;
            chunks.add(new Chunk(ids(draws, 1 + draws.below(6)), latent));
            thoughts.add(
                    latent ? Optional.of(new Annotated.Thought(ids(draws, draws.below(5)), 1f)) : Optional.empty());
        }
        return new Annotated(new Document(id, chunks), thoughts);
    }

    private static Tokens ids(Draws draws, int count) {
        int[] ids = new int[count];
        Arrays.setAll(ids, i -> draws.below(20));
        return Tokens.of(ids);
    }

    private static List<Tokens> tokens(BatchLoader.Batch batch) {
        return batch.pieces().stream().map(Sequence::tokens).toList();
    }
}
