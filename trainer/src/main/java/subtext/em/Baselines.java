package subtext.em;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import subtext.data.Annotated;
import subtext.data.Dataset;
import subtext.data.SequenceBuilder;
import subtext.data.View;
import subtext.model.LlamaConfig;
import subtext.run.Seeds;
import subtext.train.EarlyStopping;
import subtext.train.TrainPlan;

/**
 * The recipes of the baselines. All start from the initial weights of the run and use the M-step's learning rates, stretched where there are
 * more steps. Compute is counted in tokens of a forward pass: a trained token costs three, a drawn or scored one costs one.
 *
 * <ul>
 *   <li>{@code raw-token-match}: the raw corpus, as many documents per step and steps as an M-step: the same text is seen as often
 *   <li>{@code raw-flop-match}: the raw corpus, as many tokens as an M-step: the same training compute
 *   <li>{@code raw-total-flop-match}: the raw corpus, the compute of the warm start and all iterations, E-steps included, with early
 *       stopping on development documents
 *   <li>{@code raw-plus-teacher}: half raw corpus, half the warm start's documents with their thoughts; no EM. {@code em.teacherShare} is
 *       the share of the second
 *   <li>{@code raw-paraphrase}: the raw corpus with every document said in other ways too, as many tokens as an M-step: more varied text
 *       without thoughts. Maini et al. 2024, "Rephrasing the Web"
 *   <li>{@code warm-step-match}: the warm start's documents, trained as an M-step is; where the warm start itself is, that is iteration 0 and has no
 *       recipe
 *   <li>{@code oracle}: an M-step on the true thoughts
 * </ul>
 */
final class Baselines {
    /** Development measurements per M-step of steps, and how many without gain end a training. */
    private static final int MEASUREMENTS = 10;

    private static final int PATIENCE = 10;

    private final Material material;
    private final EmPlan plan;
    private final Seeds seeds;
    private final LlamaConfig config;
    private final List<EmReport.Iteration> iterations;

    /** @param iterations all of the run: what their compute was */
    Baselines(Material material, EmPlan plan, Seeds seeds, LlamaConfig config, List<EmReport.Iteration> iterations) {
        this.material = material;
        this.plan = plan;
        this.seeds = seeds;
        this.config = config;
        this.iterations = iterations;
    }

    /** The recipe of a name; empty for what asks for a truth where none is known. */
    Optional<Recipe> recipe(String name) {
        TrainPlan training = plan.training();
        return switch (name) {
            case "raw-token-match" -> {
                int tokens = Math.max(1, (int) Math.round(training.tokens() * rows(rawCorpus()) / documentTokens()));
                yield Optional.of(new Recipe(raw(name), training.withTokens(tokens), Optional.empty(), false, ""));
            }
            case "raw-flop-match" -> Optional.of(new Recipe(raw(name), training, Optional.empty(), false, ""));
            case "raw-total-flop-match" -> {
                int steps = totalSteps();
                EarlyStopping stopping = new EarlyStopping(
                        material.development().stream()
                                .map(document -> builder(name).build(Annotated.raw(document), 0))
                                .flatMap(sequence -> java.util.stream.IntStream.range(
                                                0, sequence.pieces(config.context()))
                                        .mapToObj(i -> sequence.piece(i, config.context())))
                                .toList(),
                        Math.max(1, training.steps() / MEASUREMENTS),
                        PATIENCE);
                yield Optional.of(new Recipe(
                        raw(name),
                        training.withSteps(steps),
                        Optional.of(stopping),
                        false,
                        "budget of " + steps + " steps, early stopping"));
            }
            case "raw-plus-teacher" ->
                Optional.of(new Recipe(
                        new Dataset.Mixture(
                                raw(name),
                                Dataset.shuffled(material.warmStart(), builder(name), seeds.shuffle(name + " teacher")),
                                plan.teacherShare()),
                        training,
                        Optional.empty(),
                        true,
                        String.format(
                                Locale.ROOT,
                                "%.0f %% of the documents of a batch are the warm start's",
                                100 * plan.teacherShare())));
            case "raw-paraphrase" ->
                material.paraphrased()
                        .map(documents -> new Recipe(
                                Dataset.shuffled(documents, builder(name), seeds.shuffle(name)),
                                training,
                                Optional.empty(),
                                false,
                                documents.size() / material.corpus().size() + " ways of saying each document"));
            case "oracle" ->
                material.oracle()
                        .map(documents -> new Recipe(
                                Dataset.shuffled(documents, builder(name), seeds.shuffle(name)),
                                training,
                                Optional.empty(),
                                true,
                                ""));
            case "warm-step-match" ->
                Optional.of(new Recipe(
                        Dataset.shuffled(material.warmStart(), builder(name), seeds.shuffle(name)),
                        training,
                        Optional.empty(),
                        true,
                        "the warm start's documents for the steps and tokens of an M-step"));
            default -> throw new IllegalArgumentException("baseline: " + name);
        };
    }

    private Dataset raw(String name) {
        return Dataset.shuffled(rawCorpus(), builder(name), seeds.shuffle(name));
    }

    private List<Annotated> rawCorpus() {
        return View.map(material.corpus(), Annotated::raw);
    }

    private SequenceBuilder builder(String name) {
        return new SequenceBuilder(material.tokenizer().controls(), seeds.coins(name), plan.priorShare());
    }

    /** Steps of raw training that cost what the whole run did. */
    private int totalSteps() {
        boolean mask = plan.training().documentMask();
        double flops = 0;
        for (EmReport.Iteration iteration : iterations) {
            long drawn = iteration.drawn().map(EmReport.Draws::tokens).orElse(0L);
            if (iteration.cost().isPresent()) {
                flops += iteration.cost().get().flops() + iteration.eFlops().orElse(0);
            } else { // results of before costs were kept: by the documents of the warm start
                double shown = rows(material.warmStart());
                flops += Compute.training(config, iteration.mTokens(), shown, mask)
                        + drawn * Compute.forward(config, shown, mask);
            }
        }
        return (int) Math.ceil(flops / Compute.training(config, plan.training().tokens(), rows(rawCorpus()), mask));
    }

    /** Mean predicted tokens of a document of an M-step, with the thoughts that were drawn; without an M-step of the warm start's documents. */
    private double documentTokens() {
        double tokens = 0;
        double documents = 0;
        for (EmReport.Iteration iteration : iterations) {
            double each = iteration.cost().map(EmReport.Cost::documentTokens).orElse(0.0);
            if (iteration.iteration() > 0 && each > 0) {
                tokens += iteration.mTokens();
                documents += iteration.mTokens() / each;
            }
        }
        return documents > 0 ? tokens / documents : rows(material.warmStart());
    }

    /** Mean predicted tokens of a document. */
    private double rows(List<Annotated> documents) {
        return documents.stream()
                .mapToInt(document -> builder("rows").build(document, 0).rows())
                .average()
                .orElse(1);
    }
}
