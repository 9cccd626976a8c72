/*
 * A grid of square tiles with the density of detections in each, by class: a heat map (Measure > Show measurement maps).
 *
 * QuPath 0.5.1 or newer. Tiles without any detection are left out; tiles at the border of the image count what lies in
 * the image only. A detection belongs to the tile of its centroid. Tiles of an earlier run are replaced.
 *
 * In the script editor: set TILE_UM, then Run > Run.
 * Without a window:     QuPath script -p project.qpproj -s -a tile=250 -a out=/path/to/folder density_grid.groovy
 */

import java.awt.image.BufferedImage
import java.nio.charset.StandardCharsets
import java.nio.file.Files
import java.security.MessageDigest
import qupath.lib.images.ImageData
import qupath.lib.images.servers.ImageServer
import qupath.lib.images.servers.PixelCalibration
import qupath.lib.measurements.MeasurementList
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs
import qupath.lib.roi.interfaces.ROI
import qupath.lib.scripting.QP

// ---- settings; what comes with -a goes before them ----

double TILE_UM = 250           // edge of a tile, um                                            -a tile=250
String OUT = ''                // table.csv, or a folder for one table an image                 -a out=/path
boolean TILES = true           // put the tiles on the image; false: only count                 -a tiles=false

// -------------------------------------------------------

String GRID = 'wsiparse grid'
Map<String, String> given = readArguments(['tile', 'out', 'tiles'])
double tileUm = given.containsKey('tile') ? Double.parseDouble(given.get('tile')) : TILE_UM
String out = given.getOrDefault('out', OUT)
boolean tiles = given.containsKey('tiles') ? given.get('tiles') == 'true' : TILES
if (Double.isNaN(tileUm) || Double.isInfinite(tileUm) || tileUm <= 0)
    throw new IllegalArgumentException('A tile of ' + tileUm + ' um has no area. Give its edge in um, such as 250.')

ImageData<BufferedImage> imageData = QP.getCurrentImageData()
if (imageData == null)
    throw new IllegalStateException('No image is open. Open one, or pass a project with -p.')
ImageServer<BufferedImage> server = imageData.getServer()
PathObjectHierarchy hierarchy = imageData.getHierarchy()
String image = server.getMetadata().getName()
PixelCalibration pixel = server.getPixelCalibration()
if (!pixel.hasPixelSizeMicrons())
    throw new IllegalStateException(image + ': no pixel size, so no tile of ' + tileUm + ' um. Set it in the Image tab.')
double umX = pixel.getPixelWidthMicrons()
double umY = pixel.getPixelHeightMicrons()
int width = server.getWidth()
int height = server.getHeight()
double tileX = tileUm / umX
double tileY = tileUm / umY
int columns = (int) Math.ceil(width / tileX)

// Counts by tile (raster order) and class.
TreeSet<String> names = new TreeSet<>()
List<PathObject> detections = []
int outside = 0
for (PathObject object : hierarchy.getDetectionObjects()) {
    if (object.isTile() || !object.hasROI())
        continue
    ROI roi = object.getROI()
    double x = roi.getCentroidX()
    double y = roi.getCentroidY()
    if (x < 0 || y < 0 || x >= width || y >= height) {
        outside++
        continue
    }
    detections << object
    names << className(object)
}
List<String> classes = new ArrayList<>(names)
Map<String, Integer> numbers = [:]
classes.eachWithIndex { String name, int k -> numbers.put(name, k) }
TreeMap<Long, int[]> grid = new TreeMap<>()
for (PathObject object : detections) {
    long column = (long) Math.floor(object.getROI().getCentroidX() / tileX)
    long row = (long) Math.floor(object.getROI().getCentroidY() / tileY)
    long place = row * columns + column
    int[] counts = grid.get(place)
    if (counts == null) {
        counts = new int[classes.size()]
        grid.put(place, counts)
    }
    int k = numbers.get(className(object))
    counts[k] = counts[k] + 1
}

List<PathObject> added = []
List<List<String>> rows = [['image', 'x_um', 'y_um', 'area_mm2', 'detections', 'per_mm2'] +
    classes.collectMany { String name -> [name, name + ' per_mm2'] }]
List<List<Double>> spots = []
for (Map.Entry<Long, int[]> entry : grid.entrySet()) {
    double left = (entry.getKey() % columns) * tileX
    double top = entry.getKey().intdiv(columns) * tileY
    double w = Math.min(tileX, width - left)
    double h = Math.min(tileY, height - top)
    double area = w * umX * h * umY / 1e6d
    int[] counts = entry.getValue()
    int total = counts.sum(0) as int
    List<String> row = [image, fixed(left * umX, 2), fixed(top * umY, 2), fixed(area, 6), total.toString(), fixed(total / area, 2)]
    for (int k = 0; k < counts.length; k++)
        row += [counts[k].toString(), fixed(counts[k] / area, 2)]
    rows << row
    spots << [total / area, left, top, (double) total]
    if (tiles) {
        PathObject tile = PathObjects.createTileObject(ROIs.createRectangleROI(left, top, w, h, ImagePlane.getDefaultPlane()))
        MeasurementList list = tile.getMeasurementList()
        list.put('Detections', (double) total)
        list.put('Detections per mm^2', total / area)
        for (int k = 0; k < counts.length; k++)
            list.put(classes.get(k) + ' per mm^2', counts[k] / area)
        list.close()
        tile.setName(GRID)  // not metadata: QuPath 0.5 lets none be put on a tile
        added << tile
    }
}

List<PathObject> old = hierarchy.getDetectionObjects().findAll { PathObject o ->
    o.isTile() && (o.getName() == GRID || o.getMetadata().containsKey(GRID))
}.toList()
if (tiles) {
    if (!old.isEmpty())
        hierarchy.removeObjects(old, true)
    hierarchy.addObjects(added)
}
println image + ': ' + detections.size() + ' detections in ' + grid.size() + ' tiles of ' + fixed(tileUm, 0) + ' um' +
    (tiles ? ', ' + old.size() + ' earlier tiles replaced' : '') +
    (outside > 0 ? '; WARNING: ' + outside + ' detections fall outside the image' : '')
spots.sort { List<Double> a, List<Double> b -> Double.compare(b[0], a[0]) }  // stable: raster order among equals
for (List<Double> spot : spots.take(5))
    println '  ' + fixed(spot[0], 0) + ' per mm2 (' + fixed(spot[3], 0) + ' detections) at x ' + fixed(spot[1], 0) +
        ', y ' + fixed(spot[2], 0) + ' px'
if (!out.isEmpty()) {
    File table = targetOf(out, '.csv', server)
    table.withWriter('UTF-8') { Writer writer ->
        for (List<String> row : rows)
            writer << row.collect { String cell -> quoted(cell) }.join(',') << '\n'
    }
    println image + ': wrote ' + table
}


String className(PathObject object) {
    PathClass pathClass = object.getPathClass()
    return pathClass == null ? 'Unclassified' : pathClass.toString()
}


String fixed(double value, int decimals) {
    return String.format(Locale.ROOT, '%.' + decimals + 'f', value)
}


String quoted(String cell) {
    return cell =~ /[",\r\n]/ ? '"' + cell.replace('"', '""') + '"' : cell
}


/** The file that `out` names; in a folder, one called as the slide's results folder, so that none collide. */
File targetOf(String out, String suffix, ImageServer<BufferedImage> server) {
    File target = new File(out).getAbsoluteFile()
    if (!out.endsWith(suffix)) {
        URI uri = server.getURIs().isEmpty() ? null : server.getURIs().first()
        boolean local = uri != null && uri.getScheme() == 'file' && uri.getPath() != null
        File slide = new File(local ? uri.getPath() : server.getMetadata().getName())
        String path = local ? slide.getAbsolutePath() : uri == null ? slide.getName() : uri.toString()
        byte[] digest = MessageDigest.getInstance('SHA-256').digest(path.getBytes(StandardCharsets.UTF_8))
        StringBuilder name = new StringBuilder(safeStem(slide.getName()) + '__')
        for (int i = 0; i < 4; i++)
            name.append(String.format('%02x', digest[i]))
        target = new File(target, name + suffix)
    }
    Files.createDirectories(target.getParentFile().toPath())
    return target
}


/** The name of a slide as its results folder spells it: without extension, safe for every file system. */
String safeStem(String fileName) {
    int dot = fileName.lastIndexOf('.')
    String stem = dot > 0 ? fileName.substring(0, dot) : fileName
    String safe = stem.replaceAll(/[^\p{L}\p{N}_.-]+/, '_').replaceAll(/^[._]+|[._]+$/, '')
    if (safe.isEmpty())
        return 'slide'
    return safe.codePointCount(0, safe.length()) > 80 ? safe.substring(0, safe.offsetByCodePoints(0, 80)) : safe
}


/** What came with -a: name=value for the names given here, any other word under ''. */
Map<String, String> readArguments(List<String> names) {
    Object words = getBinding().hasVariable('args') ? getBinding().getVariable('args') : null
    Map<String, String> found = [:]
    for (Object word : (words instanceof Object[] ? (Object[]) words : new Object[0])) {
        String text = word.toString()
        String name = text.contains('=') ? text.substring(0, text.indexOf('=')) : ''
        if (name in names)
            found.put(name, text.substring(name.length() + 1))
        else if (!text.isEmpty())
            found.put('', text)
    }
    return found
}
