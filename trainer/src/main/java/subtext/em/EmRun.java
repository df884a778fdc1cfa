package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.bindings.Matmul;
import subtext.engine.SelfTest;
import subtext.io.AtomicFiles;
import subtext.model.LlamaConfig;
import subtext.report.HtmlReport;
import subtext.report.RunView;
import subtext.report.TensorBoard;
import subtext.run.Beginning;
import subtext.run.MetricsLog;
import subtext.run.Provenance;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.run.Seeds;
import subtext.run.StopSignal;

/** A whole run from its settings: opens the device and the folder, makes the documents, runs the method for every seed, reports. */
public final class EmRun {
    private static final String COMMAND = "em";

    private EmRun() {}

    /**
     * Runs to the end, or goes on with a run.
     *
     * @param settings folder, configuration and who may stop it
     * @param listener told everything that happens, on the calling thread
     * @return the report, as it stands in the folder
     * @throws EngineException naming what cannot be and its cure
     * @throws EngineException.Stopped if it was asked for, with everything saved
     * @throws UncheckedIOException if a file of the folder cannot be read or written
     */
    public static EmReport start(EmSettings settings, Consumer<EmEvent> listener) {
        long from = System.nanoTime();
        RunConfig config = settings.config();
        if (settings.resume()) {
            RunDirectory.requireCommand(settings.run(), COMMAND);
        }
        EmPlan plan = EmPlan.of(config);
        if (config.seeds().isEmpty()
                || config.seeds().stream().distinct().count() < config.seeds().size()) {
            throw new EngineException.InvalidConfig(
                    "seeds: expected at least one and each once, got " + config.seeds());
        }
        DType type = type(config.device());
        try (Device device = open(config.device())) {
            SelfTest.require(device); // no weights and no thoughts by kernels that compute wrong
            Optional<Origin> origin = Origin.of(config);
            // the first documents before the folder: a corpus with a fault must not leave a run behind
            List<String> notices = new ArrayList<>();
            Material first = Materials.of(config, new Seeds(config.seeds().getFirst()), origin, notices::add);
            LlamaConfig sizes = sizes(config, origin, first);
            RunPlan.Volume volume = RunPlan.Volume.counted(first, plan, sizes.context());
            RunPlan.Needs needs = needs(
                    settings,
                    plan,
                    device,
                    sizes,
                    first.bytes() + RunPlan.drawn(plan, volume),
                    RunPlan.disk(plan, sizes, volume));
            needs.requireFit(settings.run());
            needs.caution().ifPresent(notices::add);
            try (RunDirectory directory = RunDirectory.open(
                            settings.run(),
                            settings.resume(),
                            new Beginning(COMMAND, config, Inputs.of(config)),
                            Provenance.of(device));
                    MetricsLog log = MetricsLog.open(directory.metrics());
                    TensorBoard board = new TensorBoard(directory.root())) {
                Metrics metrics = new Metrics(directory, log, listener.andThen(board));
                notices.addAll(directory.notices());
                notices.forEach(line -> metrics.accept(new EmEvent.Notice(line)));
                Provenance.inexact(device).ifPresent(line -> metrics.accept(new EmEvent.Notice(line)));
                List<EmReport.Seed> seeds = new ArrayList<>();
                for (long seed : config.seeds()) {
                    Material material = seeds.isEmpty()
                            ? first
                            : Materials.of(
                                    config, new Seeds(seed), origin, line -> metrics.accept(new EmEvent.Notice(line)));
                    seeds.add(seed(
                            seed, material, config, origin, plan, device, type, directory, settings.stop(), metrics));
                }
                EmReport report = new EmReport(directory.root().toString(), seeds, (System.nanoTime() - from) * 1e-9);
                AtomicFiles.write(directory.report(), report.toJson() + "\n");
                AtomicFiles.write(directory.table(), report.table());
                metrics.accept(new EmEvent.RunFinished(report));
                RunDirectory.writePage(directory.root(), HtmlReport.page(RunView.read(directory.root())));
                log.flush();
                directory.finish();
                return report;
            }
        } catch (IOException e) {
            throw new UncheckedIOException(settings.run() + ": " + e.getMessage(), e);
        }
    }

    private static EmReport.Seed seed(
            long seed,
            Material material,
            RunConfig config,
            Optional<Origin> origin,
            EmPlan plan,
            Device device,
            DType type,
            RunDirectory directory,
            StopSignal stop,
            Metrics metrics)
            throws IOException {
        LlamaConfig sizes = sizes(config, origin, material);
        try (Network network = new Network(
                device,
                sizes,
                type,
                plan.training().microTokens(),
                plan.maxThought(),
                config.device().slots(),
                plan.samples(),
                config.device().recompute(),
                origin)) {
            metrics.accept(new EmEvent.RunStarted(
                    directory.root(),
                    directory.resumed(),
                    sizes.parameters(),
                    device.info().toString()));
            return ExpectationMaximisation.builder()
                    .network(network)
                    .material(material)
                    .plan(plan)
                    .seed(seed)
                    .folder(directory.seed(seed))
                    .listener(metrics)
                    .stop(stop)
                    .build()
                    .run();
        }
    }

    /**
     * What a run of these settings would take; trains nothing and allocates nothing on the device but what measures it. Where the corpus or the
     * model to start from is not there yet, it plans with the sizes of the configuration.
     *
     * @param settings as for {@link #start}; nothing is written into their folder
     * @param rates of another machine; empty: this one is measured, in about two seconds
     * @param listener told what a person should know about the data
     * @return sizes, memory, disk and time
     * @throws UncheckedIOException if a file of the data cannot be read
     */
    public static RunPlan plan(EmSettings settings, Optional<Rates> rates, Consumer<EmEvent> listener) {
        RunConfig config = settings.config();
        EmPlan plan = EmPlan.of(config);
        try (Device device = open(config.device())) {
            boolean modelThere = config.model().from().isEmpty()
                    || Files.isDirectory(Path.of(config.model().from()));
            Optional<Origin> origin = modelThere ? Origin.of(config) : Optional.empty();
            if (!modelThere) {
                listener.accept(new EmEvent.Notice("model.from: "
                        + config.model().from() + " is not there yet: planned with the sizes of the configuration"));
            }
            Optional<String> missing =
                    config.corpus().rawTokens() == 0 ? Optional.empty() : Materials.missing(config.corpus());
            if (!modelThere && config.corpus().rawTokens() > 0) {
                missing = Optional.of(
                        missing.orElse("a tokenizer for " + config.corpus().path()));
            }
            LlamaConfig sizes;
            RunPlan.Volume volume;
            long held = 0;
            boolean truth = config.corpus().path().isEmpty();
            if (missing.isEmpty()) {
                Material material = Materials.of(
                        config,
                        new Seeds(config.seeds().getFirst()),
                        origin,
                        line -> listener.accept(new EmEvent.Notice(line)));
                sizes = sizes(config, origin, material);
                volume = RunPlan.Volume.counted(material, plan, sizes.context());
                held = material.bytes();
            } else {
                sizes = origin.map(Origin::config)
                        .orElseGet(() -> sizes(config.model(), config.corpus().vocabulary()));
                volume = RunPlan.Volume.assumed(config.corpus(), plan, missing.get());
            }
            Optional<Rates> known =
                    rates.isPresent() ? rates : Optional.of(Rates.measured(device, sizes, type(config.device())));
            return RunPlan.of(
                    plan,
                    sizes,
                    volume,
                    needs(
                            settings,
                            plan,
                            device,
                            sizes,
                            held + RunPlan.drawn(plan, volume),
                            RunPlan.disk(plan, sizes, volume)),
                    known,
                    truth,
                    config.device().recompute());
        } catch (IOException e) {
            throw new UncheckedIOException(settings.run() + ": " + e.getMessage(), e);
        }
    }

    /**
     * @param held bytes of documents and thoughts in the heap
     * @param disk bytes that the run's folder will have in the end; what a run to be gone on with has already is taken off
     */
    static RunPlan.Needs needs(EmSettings settings, EmPlan plan, Device device, LlamaConfig sizes, long held, long disk)
            throws IOException {
        RunConfig.Device d = settings.config().device();
        return new RunPlan.Needs(
                RunPlan.deviceBytes(device.backend(), options(d), sizes, type(d), plan, d.slots(), d.recompute()),
                device.info().freeBytes(),
                RunPlan.heap(held),
                Runtime.getRuntime().maxMemory(),
                device.backend() == Backend.CPU,
                Math.max(0, disk - (settings.resume() ? RunPlan.bytesIn(settings.run()) : 0)),
                RunPlan.diskFree(settings.run()));
    }

    /** The sizes of the model of a run. */
    static LlamaConfig sizes(RunConfig config, Optional<Origin> origin, Material material) {
        return origin.map(Origin::config)
                .orElseGet(() -> sizes(config.model(), material.tokenizer().vocabulary()));
    }

    static LlamaConfig sizes(RunConfig.Model m, int vocabulary) {
        return new LlamaConfig(
                m.layers(),
                m.width(),
                m.heads(),
                m.kvHeads(),
                m.headDim(),
                m.hidden(),
                vocabulary,
                m.context(),
                m.ropeTheta(),
                m.normEps(),
                m.tied());
    }

    static DType type(RunConfig.Device device) {
        return switch (device.type()) {
            case "f32" -> DType.F32;
            case "bf16" -> DType.BF16;
            default ->
                throw new EngineException.InvalidConfig(
                        "device.type: expected f32 or bf16, got '" + device.type() + "'");
        };
    }

    static Device open(RunConfig.Device device) {
        Backend backend = switch (device.backend()) {
            case "best" -> Backend.best();
            case "cpu" -> Backend.CPU;
            case "cuda" -> Backend.CUDA;
            default ->
                throw new EngineException.InvalidConfig(
                        "device.backend: expected best, cpu or cuda, got '" + device.backend() + "'");
        };
        return Device.open(backend, options(device));
    }

    private static DeviceOptions options(RunConfig.Device device) {
        Matmul matmul = switch (device.matmul()) {
            case "own" -> Matmul.OWN;
            case "auto" -> Matmul.AUTO;
            case "vendor" -> Matmul.VENDOR;
            case "amx" -> Matmul.AMX;
            default ->
                throw new EngineException.InvalidConfig(
                        "device.matmul: expected own, auto, vendor or amx, got '" + device.matmul() + "'");
        };
        if (device.threads() < 0 || device.threads() > DeviceOptions.MOST_THREADS) {
            throw new EngineException.InvalidConfig("device.threads: expected 0 (one per core) to "
                    + DeviceOptions.MOST_THREADS + ", got " + device.threads());
        }
        return DeviceOptions.defaults().withThreads(device.threads()).withMatmul(matmul);
    }
}
