// An application for the stories: seats that are booked. Of two who book one seat at a time, the second takes the next one, and
// there are so many.

const SEATS = 9;

/** @typedef {{ seat: number, by: string }} Booking */

/** @implements {App} */
export class Seats {
    /** @type {{ at: string, taken: Record<number, string>, said: number }} */
    confirmed = { at: '00000000-0000-0000-0000-000000000000', taken: {}, said: 0 };
    shown = structuredClone(this.confirmed);
    /** What it was told, in order: for a look at how it was. @type {string[]} */
    told = [];

    position() {
        return this.confirmed.at;
    }

    /** @param {import('../../src/client/js/mentat-sync.js').Entry} entry */
    apply(entry) {
        /** @type {Booking} */
        const { seat, by } = JSON.parse(new TextDecoder().decode(entry.body));
        this.told.push(`${entry.pending ? 'pending' : 'apply'} ${by} ${seat}`);
        for (const state of entry.pending ? [this.shown] : [this.shown, this.confirmed]) {
            if (state.taken[seat] !== undefined) throw new Error(`the seat ${seat} is taken by ${state.taken[seat]}`);
            state.taken[seat] = by;
            state.said += 1;
        }
        if (!entry.pending) this.confirmed.at = entry.id;
    }

    rewind() {
        this.told.push('rewind');
        this.shown = structuredClone(this.confirmed);
    }

    /** @param {import('../../src/client/js/mentat-sync.js').Entry} ours @returns {import('../../src/client/js/mentat-sync.js').Rebase} */
    rebase(ours) {
        /** @type {Booking} */
        const { seat, by } = JSON.parse(new TextDecoder().decode(ours.body));
        this.told.push(`rebase ${by} ${seat}`);
        if (this.shown.taken[seat] === undefined) return 'keep';
        for (let other = 1; other <= SEATS; other += 1) {
            if (this.shown.taken[other] === undefined) return { body: JSON.stringify({ seat: other, by }), chunks: ours.chunks };
        }
        return 'drop';
    }

    /** @param {number} seat @param {string} by */
    static booking(seat, by) {
        return JSON.stringify({ seat, by });
    }
}

/** @typedef {import('../../src/client/js/mentat-sync.js').App} App */
