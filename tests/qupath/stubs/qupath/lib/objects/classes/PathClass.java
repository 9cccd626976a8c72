package qupath.lib.objects.classes;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** A class of objects: one instance for each name, whose first colour stays until somebody sets another. */
public final class PathClass implements Comparable<PathClass> {
    private static final Map<String, PathClass> ALL = new ConcurrentHashMap<>();
    private final String name;
    private Integer color;

    private PathClass(String name, Integer color) {
        this.name = name;
        this.color = color;
    }

    /** For the runner: a session of QuPath ends, another begins. */
    public static void forgetAll() {
        ALL.clear();
    }

    public static PathClass fromString(String name) {
        return fromString(name, null);
    }

    public static PathClass fromString(String name, Integer color) {
        if (name.isBlank() || name.contains("\n"))
            throw new IllegalArgumentException("not the name of a class: '" + name + "'");
        return ALL.computeIfAbsent(name, n -> new PathClass(n, color));
    }

    public String getName() {
        return name;
    }

    public Integer getColor() {
        return color;
    }

    public void setColor(Integer color) {
        this.color = color;
    }

    @Override
    public int compareTo(PathClass other) {
        return name.compareTo(other.name);
    }

    @Override
    public String toString() {
        return name;
    }
}
