package subtext.run;

import subtext.random.Philox;

/**
 * Named keys of one seed. Everything random in a run is drawn from one of these, so arms of a comparison that share a name share their
 * luck: all of them start from the same weights and see the same world.
 *
 * @param seed the number a person gives
 */
public record Seeds(long seed) {
    /** Key of the initial weights. */
    public long initialWeights() {
        return Philox.key(seed, "initial weights");
    }

    /** Key of the split of a corpus. */
    public long split() {
        return Philox.key(seed, "split");
    }

    /** Key of the chunk lengths: the same for every seed, since a text is always cut the same way. */
    public static long chunks() {
        return Philox.key(0, "chunks");
    }

    /** Key of the order in which a training reads its documents. */
    public long shuffle(String stage) {
        return Philox.key(Philox.key(seed, "shuffle"), stage);
    }

    /** Key of the coins between the two orders. */
    public long coins(String stage) {
        return Philox.key(Philox.key(seed, "coins"), stage);
    }

    /** Key of the cut of the corpus into folds. */
    public long folds() {
        return Philox.key(seed, "folds");
    }

    /** Key of the E-step of an iteration. */
    public long eStep(int iteration) {
        return Philox.key(Philox.key(seed, "E-step"), iteration);
    }

    /** Key of the draws on held-out documents: the same in every iteration, so that iterations differ by their models alone. */
    public long evaluation() {
        return Philox.key(seed, "evaluation");
    }
}
