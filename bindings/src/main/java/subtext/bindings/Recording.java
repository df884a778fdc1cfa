package subtext.bindings;

import java.lang.foreign.MemorySegment;

/**
 * A step of work that can be repeated by one call. On CUDA it is a graph; on a backend without graphs {@link #replay} runs the body again,
 * with the same results. The body must use fixed addresses and read nothing back to the host; whatever changes from one replay to the next
 * (positions, counters, current tokens) lies in device tensors.
 */
public final class Recording implements AutoCloseable {
    private final Device device;
    private final Runnable body;
    private MemorySegment graph;

    /** @param graph the native recording, or null where the body is run again instead */
    Recording(Device device, Runnable body, MemorySegment graph) {
        this.device = device;
        this.body = body;
        this.graph = graph;
    }

    /** {@return whether {@link #replay} is one native call} */
    public boolean isGraph() {
        return graph != null;
    }

    /** Queues the recorded work once. */
    public void replay() {
        if (graph == null) {
            body.run();
        } else {
            device.replay(graph);
        }
    }

    /** Frees the graph; a recording without one needs no closing. Closing twice does nothing. */
    @Override
    public void close() {
        if (graph != null) {
            device.free(this, graph);
            graph = null;
        }
    }
}
