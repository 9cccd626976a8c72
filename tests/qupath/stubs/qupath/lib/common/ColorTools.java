package qupath.lib.common;

/** Colours as one integer. */
public final class ColorTools {
    private ColorTools() {
    }

    public static int packRGB(int r, int g, int b) {
        return 255 << 24 | r << 16 | g << 8 | b;
    }
}
