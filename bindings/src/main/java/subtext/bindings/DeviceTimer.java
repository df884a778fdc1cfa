package subtext.bindings;

import java.lang.foreign.MemorySegment;

/** A stopwatch on the device's own clock: two events in its queue, so the time is the device's and not the caller's. */
public final class DeviceTimer implements AutoCloseable {
    private final Device device;
    private final MemorySegment from;
    private final MemorySegment to;
    private boolean closed;

    DeviceTimer(Device device, MemorySegment from, MemorySegment to) {
        this.device = device;
        this.from = from;
        this.to = to;
    }

    /** Queues the first event. */
    public void start() {
        device.recordEvent(from);
    }

    /** Queues the second event. */
    public void stop() {
        device.recordEvent(to);
    }

    /**
     * Waits for both events.
     *
     * @return the milliseconds between them, by the device's clock
     */
    public double elapsedMillis() {
        return device.elapsed(from, to);
    }

    /** Frees the events. Closing twice does nothing. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            device.free(this, from, to);
        }
    }
}
