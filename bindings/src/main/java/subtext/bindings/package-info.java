/**
 * Devices, memory and kernels. A {@link subtext.bindings.Device} is a kernel library plus an ordinal; its memory is cut into
 * {@link subtext.bindings.Tensor tensors} by {@link subtext.bindings.Slab slabs}; {@link subtext.bindings.Kernels} has one typed method
 * per operation of {@code native/include/subtext.h}.
 */
package subtext.bindings;
