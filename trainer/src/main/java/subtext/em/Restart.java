package subtext.em;

/** Where an M-step starts. */
public enum Restart {
    /** From the initial weights, every time: the paper's way. A model that has memorised wrong thoughts forgets them. */
    SCRATCH,
    /** From the weights of the iteration before; the moments of the optimizer start at zero. */
    CARRY
}
