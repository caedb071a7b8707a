# Runs where a user is sent to, in the data directory $DIR, for as long as one send takes, and holds the lock of the user $USER_ID there.
# Takes commands on stdin; after the answer to each it says "end" and a status. The order of the steps is that of tests/model/move.py.
#
# Needs a shell, coreutils, findutils, flock and rsync, and no mentat-sync.
umask 077
export LC_ALL=C
folder=users/$USER_ID incoming=users/$USER_ID/incoming

# Gives what root has made to whom the data directory belongs.
own() { [ "$(id -u)" != 0 ] || chown -hR "$(stat -c %u:%g .)" "$@"; }

word_in() {
    word=
    [ ! -f "$folder/$1" ] || read -r word <"$folder/$1"
    printf '%s' "$word"
}

# What the user is here: absent, served, one of the words of `frozen`, or damaged. No link is followed to where something else is.
state() {
    if [ ! -e "$folder" ] && [ ! -L "$folder" ]; then echo absent
    elif [ ! -d "$folder" ] || [ -L "$folder" ]; then echo damaged
    elif [ -L "$folder/lock" ] || [ -L "$folder/gate" ] || [ -L "$incoming" ] || [ -L "$incoming/tmp" ]; then echo damaged
    elif [ ! -e "$folder/frozen" ] && [ ! -L "$folder/frozen" ]; then echo served
    else
        case $(word_in frozen) in
        frozen | gone | incoming | ready) word_in frozen ;;
        *) echo damaged ;;
        esac
    fi
}

put() {
    mkdir -p "$incoming/tmp" && echo "$2" >"$incoming/tmp/word" && own "$incoming" && sync "$incoming/tmp/word" &&
        mv -fT "$incoming/tmp/word" "$folder/$1" && sync "$folder"
}

# Sees that this is a store, in no other one, and makes one where there is nothing.
prepare() {
    above=$(pwd -P)
    while [ "$above" != / ]; do
        above=$(dirname "$above")
        case $(head -c 12 "$above/FORMAT" 2>/dev/null) in
        mentat-sync*) echo "why it is in another store, $above"; return 1 ;;
        esac
    done
    if [ -e FORMAT ]; then
        [ "$(cat FORMAT)" = "mentat-sync 1" ] && [ -d users ] || { echo "why it has another FORMAT"; return 1; }
        [ ! -L users ] && [ ! -L tmp ] || { echo "why users or tmp in it is a symbolic link"; return 1; }
    elif [ -z "$(find . -mindepth 1 ! -path ./lost+found ! -path ./users ! -path ./tmp ! -path ./trash ! -path ./tmp/FORMAT)" ]; then
        mkdir -p users tmp trash && own users tmp trash && sync -f . && echo "mentat-sync 1" >tmp/FORMAT && own tmp/FORMAT &&
            sync tmp/FORMAT && mv -T tmp/FORMAT FORMAT && sync . || return 1
    else
        echo "why it is not empty, and no store"
        return 1
    fi
    echo "at $(pwd -P)"
}

# Takes the lock of the user, who has a folder. Not in a shell of its own, which would give it back.
hold() {
    [ -z "$held" ] || return 0
    made=
    for file in "$folder/lock" "$folder/gate"; do
        [ -e "$file" ] || [ -L "$file" ] || { : >>"$file" && made="$made $file"; } || exit 1
    done
    # shellcheck disable=SC2086
    [ -z "$made" ] || own $made
    while :; do
        exec 9>>"$folder/lock"
        flock -w 10 9 || { echo taken; exit 1; }
        [ ! "$folder/lock" -ef /dev/fd/9 ] || break
    done
    held=yes
}

# Makes the folder of a user who has none, so that there is none without its word at any time.
make_folder() {
    new=tmp/$USER_ID.$(printf %s "$1" | tr -d - | head -c 16)
    [ -d tmp ] || { mkdir tmp && own tmp; } || return 1
    rm -rf "$new" && mkdir -p "$new/incoming/tmp" && echo incoming >"$new/frozen" && echo "$1" >"$new/move" &&
        : >"$new/lock" && : >"$new/gate" && own "$new" && sync -f . && mv -nT "$new" "$folder"
    rm -rf "$new"
    sync users
}

# Says where the copy goes, and where parts of it may be already.
begin() {
    case $(state) in
    incoming | gone) put move "$1" && put frozen incoming || return 1 ;;
    *) echo "why the user is $(state) there"; return 1 ;;
    esac
    mkdir -p "$incoming/tmp/$1" || return 1
    here=$(pwd -P)
    echo "into $here/$incoming/tmp/$1"
    echo "known $here/$folder"
    for old in $(ls -t "$incoming/tmp" | grep -vx "$1" | head -n 8); do
        [ ! -d "$incoming/tmp/$old" ] || echo "known $here/$incoming/tmp/$old"
    done
}

is_ours() {
    [ "$(state)" = "$2" ] && [ "$(word_in move)" = "$1" ] || { echo "why it is $(state) there, or another move of it began"; return 1; }
}

# Puts what came in the place of what was there; HEAD and CHECKPOINT last, when all they reach is durable.
install() {
    is_ours "$1" incoming || return 1
    stage=$incoming/tmp/$1
    [ "$(cat "$stage/HEAD")" = "$2" ] || { echo "why HEAD did not come"; return 1; }
    if [ -f "$stage/name" ] && [ -n "$(find users -mindepth 2 -maxdepth 2 -name name ! -path "$folder/name" -exec grep -lxF -f "$stage/name" {} +)" ]; then
        rm -f "$stage/name" && echo "named" || return 1
    fi
    own "$stage" && sync -f . || return 1
    rm -f "$folder/HEAD" "$folder/CHECKPOINT" && sync "$folder" || return 1
    find "$folder" -mindepth 1 -maxdepth 1 ! -name frozen ! -name move ! -name lock ! -name gate ! -name incoming -exec rm -rf {} + &&
        find "$incoming" -mindepth 1 -maxdepth 1 ! -name tmp -exec rm -rf {} + || return 1
    find "$stage/incoming" -mindepth 1 -maxdepth 1 ! -name tmp -exec mv -t "$incoming" {} + &&
        find "$stage" -mindepth 1 -maxdepth 1 ! -name incoming ! -name HEAD ! -name CHECKPOINT -exec mv -t "$folder" {} + || return 1
    # Servers forget by it what was pending.
    touch "$folder/gate" && sync -f . || return 1
    [ ! -e "$stage/CHECKPOINT" ] || mv -fT "$stage/CHECKPOINT" "$folder/CHECKPOINT" || return 1
    mv -fT "$stage/HEAD" "$folder/HEAD" && sync -f . || return 1
    [ "$(cat "$folder/HEAD")" = "$2" ] || { echo "why HEAD is another one there"; return 1; }
    find "$incoming/tmp" -mindepth 1 -exec rm -rf {} + 2>/dev/null
    return 0
}

for program in rsync flock; do
    command -v $program >/dev/null || { echo lacking; exit 1; }
done
if ! [ -d "$DIR" ]; then
    mkdir -p "$DIR" && { [ -z "$OWNER" ] || chown "$OWNER" "$DIR"; } || exit 1
fi
cd "$DIR" || exit 1
held=
while read -r what name head; do
    # Whoever has a folder is looked at under its lock alone.
    case $what in
    begin)
        [ "$(state)" != absent ] || (make_folder "$name")
        case $(state) in incoming | gone) hold ;; esac
        ;;
    resume) [ ! -d "$folder" ] || hold ;;
    esac
    case $what in
    prepare) (prepare </dev/null) ;;
    begin) (begin "$name" </dev/null) ;;
    settle) sync -f . ;;
    install) (install "$name" "$head" </dev/null) ;;
    ready) is_ours "$name" incoming && put frozen ready ;;
    resume) if [ "$(word_in move)" = "$name" ]; then echo "is $(state)"; else echo "is another"; fi ;;
    esac
    echo "end $?"
done
