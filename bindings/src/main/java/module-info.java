/**
 * Devices, tensors and typed kernels over the C contract {@code native/include/subtext.h}. The only module that uses
 * {@code java.lang.foreign}; its raw package is exported to nobody.
 */
module subtext.bindings {
    requires subtext.libraries;

    exports subtext.bindings;
}
