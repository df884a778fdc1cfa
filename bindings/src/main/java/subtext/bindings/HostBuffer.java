package subtext.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Host memory that the device copies from without staging (pinned). An upload from here is only queued: leave the buffer alone until the
 * device was synchronised. Any thread may fill it; only the device's thread may close it, and no other may be using it then.
 */
public final class HostBuffer implements AutoCloseable {
    private final Device device;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment memory;
    private boolean closed;

    HostBuffer(Device device, MemorySegment base, long bytes) {
        this.device = device;
        this.memory = base.reinterpret(bytes, arena, null);
    }

    /** {@return the size in bytes} */
    public long bytes() {
        return memory.byteSize();
    }

    /** {@return the memory, for bulk copies} Dead once this buffer is closed. */
    public MemorySegment segment() {
        return memory;
    }

    /**
     * A view for what Java code writes element by element. Dead once this buffer is closed.
     *
     * @return the whole memory in the machine's byte order
     * @throws UnsupportedOperationException if the memory is larger than a {@link ByteBuffer} can be, 2 GiB
     */
    public ByteBuffer buffer() {
        return memory.asByteBuffer().order(ByteOrder.nativeOrder());
    }

    /** Frees the memory. Closing twice does nothing. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        device.requireOwner();
        long address = memory.address();
        arena.close();
        closed = true;
        device.free(this, MemorySegment.ofAddress(address));
    }
}
