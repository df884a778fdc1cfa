package subtext.data;

import java.util.AbstractList;
import java.util.List;
import java.util.Objects;
import java.util.RandomAccess;
import java.util.function.Function;
import java.util.function.IntFunction;

/**
 * An unchangeable list that makes its elements when they are asked for, so that what lies on disk need not be held in memory. Elements
 * of one place are equal whenever they are asked for.
 *
 * @param <T> the elements
 */
public final class View<T> extends AbstractList<T> implements RandomAccess {
    private final int size;
    private final IntFunction<T> element;

    private View(int size, IntFunction<T> element) {
        this.size = size;
        this.element = element;
    }

    /**
     * {@return a list by a function of the place}
     *
     * @param <T> the elements
     * @param size of the list
     * @param element gives the element of a place in [0, size), equal whenever it is asked
     */
    public static <T> View<T> of(int size, IntFunction<T> element) {
        return new View<>(size, element);
    }

    /**
     * {@return the elements of another list, each through a function}
     *
     * @param <S> the elements of that list
     * @param <T> the elements of this one
     * @param list kept, not copied: not to be changed
     * @param function called each time an element is asked for
     */
    public static <S, T> View<T> map(List<S> list, Function<? super S, ? extends T> function) {
        return of(list.size(), i -> function.apply(list.get(i)));
    }

    /**
     * {@return the elements at some places of another list}
     *
     * @param <T> the elements of both
     * @param list kept, not copied: not to be changed
     * @param places in the order wanted, repeats allowed; kept, not copied
     */
    public static <T> View<T> pick(List<T> list, int... places) {
        return of(places.length, i -> list.get(places[i]));
    }

    /**
     * {@return an unchangeable list of the same elements: a view is one already and stays unread, others are copied}
     *
     * @param <T> the elements
     * @param list without nulls
     */
    public static <T> List<T> copyOf(List<T> list) {
        return list instanceof View<T> view ? view : List.copyOf(list);
    }

    @Override
    public T get(int index) {
        return element.apply(Objects.checkIndex(index, size));
    }

    @Override
    public int size() {
        return size;
    }
}
