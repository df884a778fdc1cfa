package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.Chunk;
import subtext.data.Document;
import subtext.random.Philox;
import subtext.run.RunConfig;
import subtext.text.Tokens;

/** Thoughts and questions that are read when they are wanted are those that were drawn and asked, in the same places, or are refused. */
class LatentRecordsTest {
    private static final long KEY = 11;
    private static final int SAMPLES = 3;

    /** Documents of 0 to 4 chunks, of which some take no thought. */
    private final List<Document> documents = IntStream.range(0, 97)
            .mapToObj(d -> new Document(
                    "d\u00fc " + d,
                    IntStream.range(0, Philox.below(KEY, d, 5))
                            .mapToObj(c -> new Chunk(
                                    Tokens.of(IntStream.range(0, 1 + c)
                                            .map(i -> 10 + d + i)
                                            .toArray()),
                                    Philox.below(KEY + 1, 5 * d + c, 4) > 0))
                            .toList()))
            .toList();

    private final List<LatentRecord> all = documents.stream()
            .flatMap(document -> IntStream.range(0, document.chunks().size())
                    .filter(c -> document.chunks().get(c).latent())
                    .mapToObj(c -> record(document, c)))
            .toList();

    @TempDir
    Path folder;

    private static LatentRecord record(Document document, int chunk) {
        long key = Philox.key(Philox.key(KEY, document.id()), chunk);
        List<ScoredSample> samples = IntStream.range(0, SAMPLES)
                .mapToObj(k -> new ScoredSample(
                        Tokens.of(IntStream.range(0, Philox.below(key, k, 7)).toArray()),
                        k > 0 || chunk % 2 == 0,
                        k > 0,
                        -Philox.below(key, 10 + k, 1000) / 7.0,
                        new JointScore(-1.0 / (3 + k), -k)))
                .toList();
        return new LatentRecord(document.id(), chunk, samples, Philox.below(key, 20, SAMPLES + 1) - 1);
    }

    /** All records in parts of seven, so much of them held. */
    private LatentRecords stored(long held) throws IOException {
        LatentRecords records = new LatentRecords(held);
        for (int p = 0; 7 * p < all.size(); p++) {
            List<LatentRecord> part = all.subList(7 * p, Math.min(all.size(), 7 * p + 7));
            Path file = folder.resolve(LatentPart.name(p));
            LatentPart.write(file, "model x", 1, 0, part);
            records.add(part, LatentPart.open(file, "model x"));
        }
        return records;
    }

    @Test
    void recordsOnDiskAreThoseInMemoryWhereverTheBoundLies() throws IOException {
        assertThat(all).hasSizeGreaterThan(100);
        for (long held : new long[] {0, 2_000, 20_000, LatentRecords.HELD}) {
            LatentRecords records = stored(held);
            assertThat(records).as("held %d", held).isEqualTo(all);
            for (int i : Philox.permutation(KEY, all.size())) {
                assertThat(records.get(i)).isEqualTo(all.get(i));
            }
            assertThatThrownBy(() -> records.get(all.size())).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    @Test
    void whatAnMStepTrainsOnIsTheSameFromDisk() throws IOException {
        List<Annotated> expected = new ArrayList<>();
        int next = 0;
        for (Document document : documents) {
            List<Optional<Annotated.Thought>> thoughts = new ArrayList<>();
            for (Chunk chunk : document.chunks()) {
                Optional<Tokens> chosen = chunk.latent() ? all.get(next++).thought() : Optional.empty();
                thoughts.add(chosen.map(z -> new Annotated.Thought(z, 1f)));
            }
            expected.add(new Annotated(document, thoughts));
        }
        LatentRecords records = stored(500);
        assertThat(MStep.chosen(documents, records)).isEqualTo(expected);
        assertThat(MStep.weighted(documents, records, Weighting.JOINT))
                .hasSize(SAMPLES * documents.size())
                .isEqualTo(MStep.weighted(documents, all, Weighting.JOINT));
    }

    @Test
    void recordsOfOtherChunksAreRefused() {
        List<LatentRecord> moved = new ArrayList<>(all);
        java.util.Collections.swap(moved, 3, 4);
        List<Annotated> documents = MStep.chosen(this.documents, moved);
        assertThatThrownBy(() -> documents.forEach(document -> {}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("records: expected chunk ");
        assertThatThrownBy(() -> MStep.chosen(this.documents, all.subList(1, all.size())))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("got " + (all.size() - 1));
    }

    @Test
    void aPartThatChangesAfterItWasFoundWholeIsMetWithItsLine() throws IOException {
        LatentRecords records = stored(0);
        Path file = folder.resolve(LatentPart.name(1));
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 3] ^= 1;
        Files.write(file, bytes);
        assertThat(records.get(7)).isEqualTo(all.get(7));
        assertThatThrownBy(() -> records.get(13))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageStartingWith(file + ": line 8: changed");
        Files.delete(file);
        assertThatThrownBy(() -> records.get(7)).hasMessageContaining(file.toString());
    }

    @Test
    void questionsAreThoseOfTheChunksThatTakeAThought() {
        EmPlan plan = EmPlan.of(RunConfig.preset("smoke").with("em.contextChunks", "2"));
        List<Question> expected = new ArrayList<>();
        for (Document document : documents) {
            for (int c = 0; c < document.chunks().size(); c++) {
                if (document.chunks().get(c).latent()) {
                    expected.add(Question.of(document, c, 2).fitted(64, plan.maxThought()));
                }
            }
        }
        Questions questions = Questions.of(documents, plan, 64);
        assertThat(questions).isEqualTo(expected);
        for (int i : Philox.permutation(KEY, expected.size())) {
            assertThat(questions.get(i)).isEqualTo(expected.get(i));
        }
        assertThat(Questions.of(List.of(), plan, 64)).isEmpty();
        assertThatThrownBy(() -> Questions.of(documents, plan, plan.maxThought() + 4))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageStartingWith("em.maxThought: ");
    }

    @Test
    void chunksThatDoNotFitBesideAThoughtAreCounted() {
        EmPlan plan = EmPlan.of(RunConfig.preset("smoke").with("em.maxThought", "7"));
        List<Document> documents = IntStream.of(3, 10, 12, 40)
                .mapToObj(n -> new Document(
                        "d" + n,
                        List.of(new Chunk(Tokens.of(new int[50]), false), new Chunk(Tokens.of(new int[n]), true))))
                .toList();
        Questions questions = Questions.of(documents, plan, 21); // of which 10 are left for text
        assertThat(questions.notice("corpus"))
                .hasValueSatisfying(line -> assertThat(line)
                        .startsWith("corpus: 2 of 4 chunks are longer than the 10 tokens")
                        .contains("their last 32 tokens"));
        assertThat(questions.stream().mapToInt(q -> q.text().size())).containsExactly(3, 10, 10, 10);
        assertThat(Questions.of(documents, plan, 51).notice("corpus")).isEmpty();
    }

    /** Raw text is measured whole: each token is asked for once, behind all that stands before it or at least half a context. */
    @Test
    void rawQuestionsLeaveNothingOut() {
        int positions = 24;
        for (int n : new int[] {1, 9, 10, 11, 20, 97}) {
            int[] text = IntStream.range(0, n).map(i -> 100 + i).toArray();
            Document document =
                    new Document("d", List.of(new Chunk(Tokens.of(1, 2, 3), false), new Chunk(Tokens.of(text), true)));
            List<Integer> asked = new ArrayList<>();
            for (Question question : Questions.whole(List.of(document), positions)) {
                int behind = 3 + asked.size();
                assertThat(question.context().size()).isGreaterThanOrEqualTo(Math.min(behind, positions / 2 - 2));
                assertThat(question.context())
                        .isEqualTo(document.text()
                                .slice(behind - question.context().size(), behind));
                for (int id : question.text().toArray()) {
                    asked.add(id);
                }
            }
            assertThat(asked)
                    .containsExactlyElementsOf(IntStream.of(text).boxed().toList());
        }
    }
}
