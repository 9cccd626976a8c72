package qupath.lib.scripting;

import java.awt.image.BufferedImage;
import qupath.lib.images.ImageData;
import qupath.lib.objects.hierarchy.PathObjectHierarchy;
import qupath.lib.projects.Project;
import qupath.lib.projects.ProjectImageEntry;

/** What scripts run on. The fields are set by the runner; QuPath sets its own by image and by thread. */
public class QP {
    public static ImageData<BufferedImage> imageData;
    public static Project<BufferedImage> project;
    public static int hierarchyUpdates;

    public static ImageData<BufferedImage> getCurrentImageData() {
        return imageData;
    }

    public static PathObjectHierarchy getCurrentHierarchy() {
        return imageData == null ? null : imageData.getHierarchy();
    }

    public static Project<BufferedImage> getProject() {
        return project;
    }

    public static ProjectImageEntry<BufferedImage> getProjectEntry() {
        return project == null || imageData == null ? null : project.getEntry(imageData);
    }

    public static void fireHierarchyUpdate() {
        hierarchyUpdates++;
    }
}
