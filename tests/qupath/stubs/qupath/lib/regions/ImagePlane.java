package qupath.lib.regions;

/** z and t of an object; scripts of ours use the default one. */
public class ImagePlane {
    private static final ImagePlane DEFAULT = new ImagePlane();

    public static ImagePlane getDefaultPlane() {
        return DEFAULT;
    }
}
