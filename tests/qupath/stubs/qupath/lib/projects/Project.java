package qupath.lib.projects;

import java.io.IOException;
import java.util.Collection;
import java.util.List;
import qupath.lib.images.ImageData;
import qupath.lib.objects.classes.PathClass;

/** Images that belong together. */
public interface Project<T> {
    List<ProjectImageEntry<T>> getImageList();

    ProjectImageEntry<T> getEntry(ImageData<T> imageData);

    List<PathClass> getPathClasses();

    boolean setPathClasses(Collection<? extends PathClass> pathClasses);

    void syncChanges() throws IOException;
}
