/*
 * Gives classes the colours of a wsiparse run, in QuPath and in the project's list of classes.
 *
 * QuPath 0.5.1 or newer. QuPath keeps the first colour it met for a class, and no import changes it; this script does.
 *
 * In the script editor: set RESULTS or COLOURS below, then Run > Run.
 * Without a window:     QuPath script -p project.qpproj -s -a /path/to/results class_colours.groovy
 *                       QuPath script -p project.qpproj -s -a Inflammatory=#ffd60a class_colours.groovy
 */

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.awt.image.BufferedImage
import java.util.regex.Matcher
import qupath.lib.common.ColorTools
import qupath.lib.objects.classes.PathClass
import qupath.lib.projects.Project
import qupath.lib.scripting.QP

// ---- settings; what comes with -a goes before them ----

String RESULTS = ''                         // results folder or the folder of one slide     -a /path
Map<String, String> COLOURS = [:]           // e.g. ['Inflammatory': '#ffd60a']              -a NAME=#rrggbb

// -------------------------------------------------------

Map<String, String> colours = new LinkedHashMap<>()
String source = RESULTS
Object words = getBinding().hasVariable('args') ? getBinding().getVariable('args') : null
Map<String, String> named = new LinkedHashMap<>(COLOURS)
for (Object word : (words instanceof Object[] ? (Object[]) words : new Object[0])) {
    Matcher match = word.toString() =~ /(.+)=(#[0-9a-fA-F]{6})/
    if (match.matches())
        named.put(match.group(1), match.group(2))
    else if (!word.toString().isEmpty())
        source = word.toString()
}
if (source.isEmpty() && named.isEmpty())
    throw new IllegalArgumentException('Which colours? Set RESULTS or COLOURS at the top of this script, or pass ' +
        '-a /path/to/results or -a NAME=#rrggbb')
if (!source.isEmpty())
    colours.putAll(coloursOf(new File(source)))
colours.putAll(named)

List<PathClass> classes = []
for (Map.Entry<String, String> entry : colours.entrySet()) {
    Matcher rgb = entry.getValue() =~ /#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})/
    if (!rgb.matches())
        throw new IllegalArgumentException(entry.getKey() + ': ' + entry.getValue() + ' is no colour. Write #rrggbb.')
    PathClass pathClass = PathClass.fromString(entry.getKey())
    pathClass.setColor(ColorTools.packRGB(
        Integer.parseInt(rgb.group(1), 16), Integer.parseInt(rgb.group(2), 16), Integer.parseInt(rgb.group(3), 16)))
    classes << pathClass
}

int added = 0
Project<BufferedImage> project = QP.getProject()
if (project != null) {
    List<PathClass> all = new ArrayList<>(project.getPathClasses())
    for (PathClass pathClass : classes)
        if (!all.contains(pathClass)) {
            all << pathClass
            added++
        }
    if (added > 0)
        project.setPathClasses(all)
    project.syncChanges()
}
if (QP.getCurrentHierarchy() != null)
    QP.fireHierarchyUpdate()  // draw again
println 'wsiparse: ' + classes.size() + ' classes coloured (' +
    colours.collect { String name, String colour -> name + ' ' + colour }.join(', ') + ')' +
    (project == null ? '' : ', ' + added + ' new in the project')


/** Class names and colours of the prompts of a run; results of several slides are read all, the first name wins. */
Map<String, String> coloursOf(File results) {
    List<File> stores = [new File(results, 'objects.zarr/zarr.json')]
    File below = new File(results, 'slides')
    File[] folders = (below.isDirectory() ? below : results).listFiles()
    if (folders == null)
        throw new FileNotFoundException(results.toString() + ': no such folder. Check the path of the results.')
    for (File folder : folders.sort(false))
        stores << new File(folder, 'objects.zarr/zarr.json')
    Map<String, String> colours = [:]
    for (File store : stores) {
        if (!store.isFile())
            continue
        store.withReader('UTF-8') { Reader reader ->
            JsonObject attributes = JsonParser.parseReader(reader).getAsJsonObject().getAsJsonObject('attributes')
            for (JsonElement prompt : attributes.getAsJsonArray('prompts')) {
                JsonObject fields = prompt.getAsJsonObject()
                colours.putIfAbsent(fields.get('class_name').getAsString(), fields.get('colour').getAsString())
            }
        }
    }
    if (colours.isEmpty())
        throw new FileNotFoundException(results.toString() +
            ': no objects.zarr in it or in the slides folders below. Give the results folder.')
    return colours
}
