package subtext.data;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;
import subtext.bindings.EngineException;

/**
 * Work done by several threads whose results come out in the order in which it went in, with a bound on what is under way.
 *
 * @param <S> what goes in
 * @param <T> what comes out
 */
final class Ordered<S, T> implements AutoCloseable {
    /** Told of every result, in order, on the thread that puts work in. */
    interface Sink<T> {
        void accept(T result) throws IOException;
    }

    private record Pending<T>(Future<T> result, long weight) {}

    private final ExecutorService threads;
    private final long budget;
    private final Function<S, T> work;
    private final Sink<T> sink;
    private final Deque<Pending<T>> pending = new ArrayDeque<>();
    private long weight;

    /** @param budget weight under way, at most, unless one piece alone weighs more */
    Ordered(int threads, long budget, Function<S, T> work, Sink<T> sink) {
        this.threads = Executors.newFixedThreadPool(
                threads, Thread.ofPlatform().name("prepare-", 0).daemon().factory());
        this.budget = budget;
        this.work = work;
        this.sink = sink;
    }

    /** Puts a piece in, and takes out what is in the way. */
    void add(S piece, long heavy) throws IOException {
        while (weight + heavy > budget && !pending.isEmpty()) {
            take();
        }
        pending.add(new Pending<>(threads.submit(() -> work.apply(piece)), heavy));
        weight += heavy;
    }

    /** Takes everything out. */
    void finish() throws IOException {
        while (!pending.isEmpty()) {
            take();
        }
    }

    private void take() throws IOException {
        Pending<T> first = pending.remove();
        weight -= first.weight();
        try {
            sink.accept(first.result().get());
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case RuntimeException cause -> throw cause;
                case Error cause -> throw cause;
                default -> throw new IllegalStateException(e.getCause());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new EngineException.Stopped("prepare: interrupted; the same command goes on");
        }
    }

    @Override
    public void close() {
        threads.shutdownNow();
    }
}
