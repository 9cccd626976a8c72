"""Looking at results in a browser, with nothing but this machine: `wsiparse view`.

source      which results, and where the slide is now
pyramid     levels and tiles
picture     the slide as JPEG tiles
index       objects found by place, counted by square
labelmaps   how much of a px a class covers, from the label images
overlay     one class of one tile as a PNG: outlines near, coverage from afar
kernels     lines into pixels (Numba)
cache       what is made once while it is looked at, bounded
view        a slide's facts for the page and its tiles by address
pages       the page: template, facts, content security policy
server      pages and tiles on the loopback interface, for one person
export      the same as a folder of files
static/     template, script, style; vendor/ is filled by scripts/build_viewer.sh
"""
