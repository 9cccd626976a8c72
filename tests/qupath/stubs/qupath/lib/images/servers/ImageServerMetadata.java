package qupath.lib.images.servers;

/** The name of an image. */
public class ImageServerMetadata {
    private final String name;

    public ImageServerMetadata(String name) {
        this.name = name;
    }

    public String getName() {
        return name;
    }
}
