/*
 * Counts detections inside each annotation, by class, with densities per mm2. A cell belongs where its centroid lies.
 *
 * QuPath 0.5.1 or newer. The hierarchy is neither needed nor changed, so annotations may overlap (a cell then counts in
 * each) and nothing has to be resolved first. Selected annotations only, if some are selected; otherwise all with area.
 *
 * In the script editor: Run > Run (set OUT for a table as a file).
 * Without a window:     QuPath script -p project.qpproj -a out=/path/to/folder count_by_annotation.groovy
 */

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import java.nio.charset.StandardCharsets
import java.nio.file.Files
import java.security.MessageDigest
import org.locationtech.jts.algorithm.locate.IndexedPointInAreaLocator
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.Location
import qupath.lib.images.ImageData
import qupath.lib.images.servers.ImageServer
import qupath.lib.images.servers.PixelCalibration
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.roi.interfaces.ROI
import qupath.lib.scripting.QP

// ---- settings; what comes with -a goes before them ----

String OUT = ''                // table.csv, or a folder for one table an image                        -a out=/path
String CLASS = ''              // annotations of this class only                                       -a class=Tumor
boolean MEASUREMENTS = false   // keep the numbers in the annotations, too (then save)                  -a measurements=true

// -------------------------------------------------------

Map<String, String> given = readArguments(['out', 'class', 'measurements'])
String out = given.getOrDefault('out', OUT)
String only = given.getOrDefault('class', CLASS)
boolean measure = given.containsKey('measurements') ? given.get('measurements') == 'true' : MEASUREMENTS

ImageData<BufferedImage> imageData = QP.getCurrentImageData()
if (imageData == null)
    throw new IllegalStateException('No image is open. Open one, or pass a project with -p.')
ImageServer<BufferedImage> server = imageData.getServer()
PathObjectHierarchy hierarchy = imageData.getHierarchy()
String image = server.getMetadata().getName()

// Detections by x, so that an annotation looks only at those between its sides.
List<PathObject> detections = hierarchy.getDetectionObjects().findAll { PathObject o ->
    !o.isTile() && o.hasROI()
}.toList()
detections.sort { PathObject a, PathObject b -> Double.compare(a.getROI().getCentroidX(), b.getROI().getCentroidX()) }
TreeSet<String> names = new TreeSet<>()
for (PathObject object : detections)
    names << className(object)
List<String> classes = new ArrayList<>(names)
Map<String, Integer> numbers = [:]
classes.eachWithIndex { String name, int k -> numbers.put(name, k) }
double[] x = new double[detections.size()]
double[] y = new double[detections.size()]
int[] kind = new int[detections.size()]
for (int i = 0; i < x.length; i++) {
    PathObject object = detections.get(i)
    x[i] = object.getROI().getCentroidX()
    y[i] = object.getROI().getCentroidY()
    kind[i] = numbers.get(className(object))
}

List<PathObject> chosen = hierarchy.getAnnotationObjects().findAll { PathObject o ->
    o.hasROI() && o.getROI().isArea() && (only.isEmpty() || className(o) == only)
}.toList()
Set<PathObject> selected = hierarchy.getSelectionModel().getSelectedObjects()
if (chosen.any { PathObject o -> selected.contains(o) })
    chosen = chosen.findAll { PathObject o -> selected.contains(o) }

PixelCalibration pixel = server.getPixelCalibration()
Double mm2PerPixel = null
if (pixel.hasPixelSizeMicrons())
    mm2PerPixel = pixel.getPixelWidthMicrons() * pixel.getPixelHeightMicrons() / 1e6d
else
    println image + ': no pixel size, so no areas and densities. Set it in the Image tab.'

List<List<String>> rows = [['image', 'annotation', 'annotation class', 'id', 'area_mm2', 'detections', 'per_mm2'] +
    classes.collectMany { String name -> [name, name + ' per_mm2'] }]
for (PathObject annotation : chosen) {
    ROI roi = annotation.getROI()
    int[] counts = countInside(x, y, kind, classes.size(), roi.getGeometry())
    int total = counts.sum(0) as int
    Double area = mm2PerPixel == null ? null : roi.getArea() * mm2PerPixel
    List<String> row = [image, annotation.getName() ?: '', className(annotation), annotation.getID().toString(),
        area == null ? '' : String.format(Locale.ROOT, '%.6f', area), total.toString(), density(total, area)]
    for (int k = 0; k < counts.length; k++)
        row += [counts[k].toString(), density(counts[k], area)]
    rows << row
    if (measure)
        for (int k = 0; k < counts.length; k++)
            annotation.getMeasurementList().put('wsiparse count ' + classes.get(k), (double) counts[k])
}
if (measure && !chosen.isEmpty())
    hierarchy.fireObjectMeasurementsChangedEvent(this, chosen)

println image + ': ' + chosen.size() + ' annotations, ' + x.length + ' detections of ' + classes.size() + ' classes'
for (List<String> row : rows.drop(1).take(50))
    println '  ' + [row[1], row[2], row[3].take(8)].findAll { String s -> !s.isEmpty() }.join(' | ') + ': ' +
        row[5] + ' detections' + (row[6].isEmpty() ? '' : ' on ' + row[4] + ' mm2, ' + row[6] + ' per mm2') +
        (0..<classes.size()).collect { int k -> ', ' + row[7 + 2 * k] + ' ' + classes[k] }.join('')
if (rows.size() > 51)
    println '  and ' + (rows.size() - 51) + ' more annotations'
if (!out.isEmpty()) {
    File table = targetOf(out, '.csv', server)
    table.withWriter('UTF-8') { Writer writer ->
        for (List<String> row : rows)
            writer << row.collect { String cell -> quoted(cell) }.join(',') << '\n'
    }
    println image + ': wrote ' + table
}


/** Detections of each class inside a shape; one on its border is inside. x is sorted. */
@CompileStatic
int[] countInside(double[] x, double[] y, int[] kind, int classes, Geometry shape) {
    int[] counts = new int[classes]
    double left = shape.getEnvelopeInternal().getMinX()
    double right = shape.getEnvelopeInternal().getMaxX()
    double top = shape.getEnvelopeInternal().getMinY()
    double bottom = shape.getEnvelopeInternal().getMaxY()
    IndexedPointInAreaLocator locator = new IndexedPointInAreaLocator(shape)
    int low = 0
    int high = x.length
    while (low < high) {  // the first at or right of the left side
        int middle = (low + high) >>> 1
        if (x[middle] < left)
            low = middle + 1
        else
            high = middle
    }
    for (int i = low; i < x.length && x[i] <= right; i++)
        if (y[i] >= top && y[i] <= bottom && locator.locate(new Coordinate(x[i], y[i])) != Location.EXTERIOR)
            counts[kind[i]]++
    return counts
}


String className(PathObject object) {
    PathClass pathClass = object.getPathClass()
    return pathClass == null ? 'Unclassified' : pathClass.toString()
}


String density(int count, Double area) {
    return area == null || area <= 0 ? '' : String.format(Locale.ROOT, '%.2f', count / area)
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
