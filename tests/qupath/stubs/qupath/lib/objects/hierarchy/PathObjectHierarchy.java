package qupath.lib.objects.hierarchy;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.function.Predicate;
import qupath.lib.objects.PathObject;
import qupath.lib.objects.hierarchy.events.PathObjectSelectionModel;

/** The objects of an image, all on one level, and how they were handled. */
public final class PathObjectHierarchy {
    private final Set<PathObject> objects = new LinkedHashSet<>();
    private final PathObjectSelectionModel selection = new PathObjectSelectionModel();
    public int additions;
    public int removals;
    public boolean lostChildren;
    public boolean resolved;
    public int measurementsChanged;

    public boolean addObjects(Collection<? extends PathObject> added) {
        additions++;
        return objects.addAll(added);
    }

    public void removeObjects(Collection<? extends PathObject> removed, boolean keepChildren) {
        removals++;
        lostChildren |= !keepChildren;
        objects.removeAll(new LinkedHashSet<>(removed));
    }

    public void resolveHierarchy() {
        resolved = true;
    }

    /** Tiles are detections, too. */
    public Collection<PathObject> getDetectionObjects() {
        return those(PathObject::isDetection);
    }

    public Collection<PathObject> getAnnotationObjects() {
        return those(PathObject::isAnnotation);
    }

    public PathObjectSelectionModel getSelectionModel() {
        return selection;
    }

    public void fireObjectMeasurementsChangedEvent(Object source, Collection<? extends PathObject> changed) {
        measurementsChanged += changed.size();
    }

    /** For the runner. */
    public Collection<PathObject> all() {
        return objects;
    }

    private Collection<PathObject> those(Predicate<PathObject> wanted) {
        Collection<PathObject> found = new ArrayList<>();
        for (PathObject object : objects)
            if (wanted.test(object))
                found.add(object);
        return found;
    }
}
