/** The kernel libraries as resources: {@code META-INF/native/<system>-<processor>/}, with their SHA-256 digests. No Java code. */
module subtext.libraries {}
