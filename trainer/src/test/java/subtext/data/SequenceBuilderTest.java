package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.random.Draws;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/** The grammar of training sequences, and the order in which they come. */
class SequenceBuilderTest {
    private static final ControlTokens CONTROL = ControlTokens.from(50);

    private final SequenceBuilder builder = new SequenceBuilder(CONTROL, 91, 0.5);

    /** Method notes 11.9, test 8, second half: read back, a sequence gives the exact text and the exact thoughts. */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void sequencesReadBackAsTheirDocuments(long seed) {
        Draws draws = new Draws(seed);
        for (int r = 0; r < 500; r++) {
            Annotated annotated = random("d" + r, draws);
            List<SequenceBuilder.Block> blocks =
                    builder.parse(builder.build(annotated, r % 7).tokens());
            Tokens text = Tokens.concat(
                    blocks.stream().map(SequenceBuilder.Block::text).toArray(Tokens[]::new));
            assertThat(text).isEqualTo(annotated.document().text());
            List<Tokens> thoughts = blocks.stream()
                    .flatMap(block -> thought(block.arrangement()).stream())
                    .toList();
            assertThat(thoughts)
                    .isEqualTo(annotated.thoughts().stream()
                            .flatMap(Optional::stream)
                            .map(Annotated.Thought::tokens)
                            .toList());
        }
    }

    @Test
    void theTwoOrdersAreWrittenAsTheGrammarSays() {
        Annotated annotated = Annotated.with(
                new Document("d", List.of(new Chunk(Tokens.of(1, 2), false), new Chunk(Tokens.of(3), true))),
                List.of(Tokens.of(7, 8)));
        assertThat(new SequenceBuilder(CONTROL, 1, 1).build(annotated, 0).tokens())
                .isEqualTo(Tokens.of(50, 1, 2, 52, 54, 7, 8, 53, 3, 51));
        assertThat(new SequenceBuilder(CONTROL, 1, 0).build(annotated, 0).tokens())
                .isEqualTo(Tokens.of(50, 1, 2, 52, 53, 3, 52, 55, 7, 8, 53, 51));
        assertThat(builder.build(Annotated.raw(annotated.document()), 0).tokens())
                .isEqualTo(Tokens.of(50, 1, 2, 3, 51));
        assertThat(builder.posteriorPrompt(Tokens.of(1, 2), Tokens.of(3)))
                .isEqualTo(Tokens.of(50, 1, 2, 52, 53, 3, 52, 55));
        assertThat(builder.priorPrompt(Tokens.of(1, 2))).isEqualTo(Tokens.of(50, 1, 2, 52, 54));
    }

    /** First half of test 8: over epochs each chunk stands in prior order half of the time, four standard deviations of 20,000 coins. */
    @Test
    void coinsAreFairAndFreshInEveryEpoch() {
        Annotated annotated = Annotated.with(
                new Document("d", List.of(new Chunk(Tokens.of(1), true), new Chunk(Tokens.of(2), true))),
                List.of(Tokens.of(7), Tokens.of(8)));
        int epochs = 20_000;
        int[] prior = new int[2];
        int alike = 0;
        for (int epoch = 0; epoch < epochs; epoch++) {
            List<SequenceBuilder.Block> blocks =
                    builder.parse(builder.build(annotated, epoch).tokens());
            boolean first = blocks.get(0).arrangement() instanceof Arrangement.Prior;
            boolean second = blocks.get(1).arrangement() instanceof Arrangement.Prior;
            prior[0] += first ? 1 : 0;
            prior[1] += second ? 1 : 0;
            alike += first == second ? 1 : 0;
        }
        for (double share : new double[] {prior[0], prior[1], alike}) {
            assertThat(share / epochs).isBetween(0.5 - 2 / Math.sqrt(epochs), 0.5 + 2 / Math.sqrt(epochs));
        }
        assertThat(builder.build(annotated, 5).tokens())
                .isEqualTo(new SequenceBuilder(CONTROL, 91, 0.5)
                        .build(annotated, 5)
                        .tokens());
    }

    @Test
    void weightsFollowTheirBlocks() {
        Annotated annotated = new Annotated(
                new Document("d", List.of(new Chunk(Tokens.of(1, 2), false), new Chunk(Tokens.of(3), true))),
                List.of(Optional.empty(), Optional.of(new Annotated.Thought(Tokens.of(7), 0.25f))));
        Sequence sequence = new SequenceBuilder(CONTROL, 1, 1).build(annotated, 0);
        assertThat(sequence.weights()).containsExactly(1, 1, 1, .25f, .25f, .25f, .25f, .25f, 1);
    }

    @Test
    void whatIsNotInTheGrammarIsRefused() {
        for (Tokens bad : List.of(
                Tokens.of(),
                Tokens.of(50),
                Tokens.of(1, 2),
                Tokens.of(50, 51, 51),
                Tokens.of(50, 1, 54, 2, 51),
                Tokens.of(50, 52, 54, 7, 3, 51),
                Tokens.of(50, 52, 1, 51),
                Tokens.of(50, 52, 53, 3, 51),
                Tokens.of(50, 52, 53, 3, 52, 54, 7, 53, 51),
                Tokens.of(50, 52, 51))) {
            assertThatThrownBy(() -> builder.parse(bad))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("sequence: ");
        }
    }

    /** Every epoch holds every document once, in another order, and any place can be entered directly. */
    @Test
    void shuffledEpochsHoldEveryDocumentOnce() {
        Draws draws = new Draws(5);
        List<Annotated> documents = new ArrayList<>();
        for (int d = 0; d < 37; d++) {
            documents.add(Annotated.raw(new Document("d" + d, List.of(new Chunk(Tokens.of(d), true)))));
        }
        Dataset dataset = Dataset.shuffled(documents, builder, 3);
        List<List<Integer>> epochs = new ArrayList<>();
        for (int epoch = 0; epoch < 4; epoch++) {
            List<Integer> seen = new ArrayList<>();
            for (int i = 0; i < 37; i++) {
                seen.add(dataset.at(37L * epoch + i).tokens().at(1));
            }
            assertThat(seen).doesNotHaveDuplicates().hasSize(37);
            epochs.add(seen);
        }
        assertThat(epochs).doesNotHaveDuplicates();
        for (int i = 0; i < 200; i++) {
            int n = draws.below(4 * 37);
            assertThat(Dataset.shuffled(documents, builder, 3).at(n).tokens())
                    .isEqualTo(dataset.at(n).tokens());
        }
    }

    @Test
    void mixturesTakeTheirShareFromEach() {
        Dataset first = Dataset.shuffled(List.of(Annotated.raw(document(1))), builder, 3);
        Dataset second = Dataset.shuffled(List.of(Annotated.raw(document(2))), builder, 3);
        for (double share : new double[] {0, 0.15, 0.5, 1}) {
            Dataset mixture = new Dataset.Mixture(first, second, share);
            int fromSecond = 0;
            for (int n = 0; n < 200; n++) {
                fromSecond += mixture.at(n).tokens().at(1) == 2 ? 1 : 0;
            }
            assertThat(fromSecond).isEqualTo((int) Math.round(200 * share));
        }
    }

    /** Whatever the cursor it is entered at, the stream of pieces is the same; every prediction comes exactly once. */
    @ParameterizedTest
    @ValueSource(ints = {1, 5, 17, 64})
    void batchesAreAFunctionOfTheCursor(int context) {
        Draws draws = new Draws(11);
        List<Annotated> documents = new ArrayList<>();
        for (int d = 0; d < 9; d++) {
            documents.add(random("d" + d, draws));
        }
        Dataset dataset = Dataset.shuffled(documents, builder, 7);
        BatchLoader loader = new BatchLoader(dataset, context, 64);
        Cursor cursor = Cursor.START;
        List<Sequence> pieces = new ArrayList<>();
        while (cursor.example() < 18) {
            BatchLoader.Batch batch = loader.load(cursor);
            BatchLoader.Batch again =
                    new BatchLoader(Dataset.shuffled(documents, builder, 7), context, 64).load(cursor);
            assertThat(again.next()).isEqualTo(batch.next());
            assertThat(again.pieces().stream().map(Sequence::tokens).toList())
                    .isEqualTo(batch.pieces().stream().map(Sequence::tokens).toList());
            assertThat(batch.rows() <= 64 || batch.pieces().size() == 1).isTrue();
            assertThat(batch.groups(16).stream().flatMap(List::stream).toList()).isEqualTo(batch.pieces());
            pieces.addAll(batch.pieces());
            cursor = batch.next();
        }
        long predicted = 0;
        for (long n = 0; n < cursor.example(); n++) {
            predicted += dataset.at(n).rows();
        }
        for (int piece = 0; piece < cursor.piece(); piece++) {
            predicted += dataset.at(cursor.example()).piece(piece, context).rows();
        }
        assertThat(pieces.stream().mapToLong(Sequence::rows).sum()).isEqualTo(predicted);
    }

    private static Document document(int token) {
        return new Document("d" + token, List.of(new Chunk(Tokens.of(token), true)));
    }

    /** One to five chunks of 1 to 30 tokens, some with thoughts of 0 to 9; raw chunks never follow each other or a prior block. */
    private static Annotated random(String id, Draws draws) {
        List<Chunk> chunks = new ArrayList<>();
        List<Optional<Annotated.Thought>> thoughts = new ArrayList<>();
        int n = 1 + draws.below(5);
        for (int c = 0; c < n; c++) {
            boolean latent = c > 0 || draws.below(2) == 0;
            chunks.add(new Chunk(tokens(1 + draws.below(30), draws), latent));
            thoughts.add(
                    latent ? Optional.of(new Annotated.Thought(tokens(draws.below(10), draws), 1f)) : Optional.empty());
        }
        return new Annotated(new Document(id, chunks), thoughts);
    }

    private static Tokens tokens(int size, Draws draws) {
        int[] ids = new int[size];
        for (int i = 0; i < size; i++) {
            ids[i] = draws.below(50);
        }
        return Tokens.of(ids);
    }

    private static Optional<Tokens> thought(Arrangement arrangement) {
        return switch (arrangement) {
            case Arrangement.Raw raw -> Optional.empty();
            case Arrangement.Prior prior -> Optional.of(prior.thought());
            case Arrangement.Posterior posterior -> Optional.of(posterior.thought());
        };
    }
}
