package subtext.bindings.ffi;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;

/**
 * The addresses of the functions of one loaded library, under their C names. A library that lacks one is refused, with the name of the
 * function.
 */
public final class Symbols {

    final MemorySegment st_abi_version;
    final MemorySegment st_device_open;
    final MemorySegment st_device_close;
    final MemorySegment st_last_error;
    final MemorySegment st_device_property;
    final MemorySegment st_device_text;
    final MemorySegment st_device_matmul;
    final MemorySegment st_device_stream;
    final MemorySegment st_alloc;
    final MemorySegment st_free;
    final MemorySegment st_host_alloc;
    final MemorySegment st_host_free;
    final MemorySegment st_upload;
    final MemorySegment st_download;
    final MemorySegment st_copy;
    final MemorySegment st_fill_zero;
    final MemorySegment st_fill_i32;
    final MemorySegment st_fill_normal;
    final MemorySegment st_cast;
    final MemorySegment st_synchronize;
    final MemorySegment st_event_create;
    final MemorySegment st_event_record;
    final MemorySegment st_event_elapsed;
    final MemorySegment st_event_free;
    final MemorySegment st_record_begin;
    final MemorySegment st_record_end;
    final MemorySegment st_record_replay;
    final MemorySegment st_record_free;
    final MemorySegment st_embedding_forward;
    final MemorySegment st_embedding_backward;
    final MemorySegment st_gather_rows;
    final MemorySegment st_rmsnorm_forward;
    final MemorySegment st_rmsnorm_backward_scratch_bytes;
    final MemorySegment st_rmsnorm_backward;
    final MemorySegment st_matmul_nt;
    final MemorySegment st_matmul_nn;
    final MemorySegment st_matmul_tn;
    final MemorySegment st_rope;
    final MemorySegment st_attention_forward;
    final MemorySegment st_attention_backward_scratch_bytes;
    final MemorySegment st_attention_backward;
    final MemorySegment st_cache_store;
    final MemorySegment st_attention_cached;
    final MemorySegment st_swiglu_forward;
    final MemorySegment st_swiglu_backward;
    final MemorySegment st_add;
    final MemorySegment st_log_prob;
    final MemorySegment st_cross_entropy;
    final MemorySegment st_sample_scratch_bytes;
    final MemorySegment st_sample;
    final MemorySegment st_decode_advance;
    final MemorySegment st_sum_squares_scratch_bytes;
    final MemorySegment st_sum_squares;
    final MemorySegment st_adamw;

    /**
     * Looks every function up.
     *
     * @param library how messages name the library
     * @throws IllegalArgumentException naming the library and the first function it lacks
     */
    Symbols(SymbolLookup lookup, String library) {
        st_abi_version = find(lookup, library, "st_abi_version");
        st_device_open = find(lookup, library, "st_device_open");
        st_device_close = find(lookup, library, "st_device_close");
        st_last_error = find(lookup, library, "st_last_error");
        st_device_property = find(lookup, library, "st_device_property");
        st_device_text = find(lookup, library, "st_device_text");
        st_device_matmul = find(lookup, library, "st_device_matmul");
        st_device_stream = find(lookup, library, "st_device_stream");
        st_alloc = find(lookup, library, "st_alloc");
        st_free = find(lookup, library, "st_free");
        st_host_alloc = find(lookup, library, "st_host_alloc");
        st_host_free = find(lookup, library, "st_host_free");
        st_upload = find(lookup, library, "st_upload");
        st_download = find(lookup, library, "st_download");
        st_copy = find(lookup, library, "st_copy");
        st_fill_zero = find(lookup, library, "st_fill_zero");
        st_fill_i32 = find(lookup, library, "st_fill_i32");
        st_fill_normal = find(lookup, library, "st_fill_normal");
        st_cast = find(lookup, library, "st_cast");
        st_synchronize = find(lookup, library, "st_synchronize");
        st_event_create = find(lookup, library, "st_event_create");
        st_event_record = find(lookup, library, "st_event_record");
        st_event_elapsed = find(lookup, library, "st_event_elapsed");
        st_event_free = find(lookup, library, "st_event_free");
        st_record_begin = find(lookup, library, "st_record_begin");
        st_record_end = find(lookup, library, "st_record_end");
        st_record_replay = find(lookup, library, "st_record_replay");
        st_record_free = find(lookup, library, "st_record_free");
        st_embedding_forward = find(lookup, library, "st_embedding_forward");
        st_embedding_backward = find(lookup, library, "st_embedding_backward");
        st_gather_rows = find(lookup, library, "st_gather_rows");
        st_rmsnorm_forward = find(lookup, library, "st_rmsnorm_forward");
        st_rmsnorm_backward_scratch_bytes = find(lookup, library, "st_rmsnorm_backward_scratch_bytes");
        st_rmsnorm_backward = find(lookup, library, "st_rmsnorm_backward");
        st_matmul_nt = find(lookup, library, "st_matmul_nt");
        st_matmul_nn = find(lookup, library, "st_matmul_nn");
        st_matmul_tn = find(lookup, library, "st_matmul_tn");
        st_rope = find(lookup, library, "st_rope");
        st_attention_forward = find(lookup, library, "st_attention_forward");
        st_attention_backward_scratch_bytes = find(lookup, library, "st_attention_backward_scratch_bytes");
        st_attention_backward = find(lookup, library, "st_attention_backward");
        st_cache_store = find(lookup, library, "st_cache_store");
        st_attention_cached = find(lookup, library, "st_attention_cached");
        st_swiglu_forward = find(lookup, library, "st_swiglu_forward");
        st_swiglu_backward = find(lookup, library, "st_swiglu_backward");
        st_add = find(lookup, library, "st_add");
        st_log_prob = find(lookup, library, "st_log_prob");
        st_cross_entropy = find(lookup, library, "st_cross_entropy");
        st_sample_scratch_bytes = find(lookup, library, "st_sample_scratch_bytes");
        st_sample = find(lookup, library, "st_sample");
        st_decode_advance = find(lookup, library, "st_decode_advance");
        st_sum_squares_scratch_bytes = find(lookup, library, "st_sum_squares_scratch_bytes");
        st_sum_squares = find(lookup, library, "st_sum_squares");
        st_adamw = find(lookup, library, "st_adamw");
    }

    private static MemorySegment find(SymbolLookup lookup, String library, String name) {
        return lookup.find(name).orElseThrow(() -> new IllegalArgumentException(library + " has no function " + name));
    }
}
