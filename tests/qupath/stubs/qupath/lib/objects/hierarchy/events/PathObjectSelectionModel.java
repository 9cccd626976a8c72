package qupath.lib.objects.hierarchy.events;

import java.util.LinkedHashSet;
import java.util.Set;
import qupath.lib.objects.PathObject;

/** What is selected. */
public class PathObjectSelectionModel {
    private final Set<PathObject> selected = new LinkedHashSet<>();

    public Set<PathObject> getSelectedObjects() {
        return selected;
    }
}
