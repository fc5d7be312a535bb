// What the table of feature views holds: what is searched, counted and sorted.

const ROW = 30; // pixels; also in the style
const MOST_VALUES = 50; // of a facet that are listed at once
const FACETS = [
  ["owner", "Owner"],
  ["tag", "Tag"],
  ["entity", "Entity"],
  ["dtype", "Type"],
  ["served", "Served"],
  ["service", "Service"],
];
const COLUMNS = [
  ["name", "View or feature"],
  ["keys", "Keys, type"],
  ["description", "Description"],
  ["owner", "Owner"],
  ["tags", "Tags"],
  ["ttl", "ttl"],
  ["features", "Features"],
];
const SORTED = ["name", "owner", "ttl", "features"];

const fold = (text) => text.normalize("NFKC").toLowerCase();
const byText = new Intl.Collator("en", { numeric: true }).compare;

/** What a store holds, as columns, and what of it a search finds. */
class Catalogue {
  constructor({ views, features, dtypes, services, served }) {
    Object.assign(this, { views, features, dtypes, services });
    this.height = views.name.length;
    this.of = new Int32Array(features.name.length);
    views.first.forEach((first, v) => this.of.fill(v, first, this.end(v)));
    const uses = views.services.map((own) => own.map((s) => services[s]));
    this.values = {
      owner: views.owner.map((owner) => (owner ? [owner] : [])),
      tag: views.tags,
      entity: views.keys,
      served: views.served.map((way) => [served[way]]),
      service: uses,
    };
    this.viewText = views.name.map((name, v) =>
      fold([name, views.description[v], views.owner[v], views.source[v], ...views.keys[v],
        ...views.tags[v], ...uses[v]].join("\n")),
    );
    this.featureText = features.name.map((name, f) =>
      fold(`${name}\n${features.description[f]}\n${features.tags[f] ?? ""}`),
    );
  }

  end(v) {
    return v + 1 < this.height ? this.views.first[v + 1] : this.features.name.length;
  }

  size(v) {
    return this.end(v) - this.views.first[v];
  }

  reference(f) {
    return `${this.views.name[this.of[f]]}:${this.features.name[f]}`;
  }

  /** The reference can name the feature: none of its two names has a colon. */
  nameable(f) {
    return !this.views.name[this.of[f]].includes(":") && !this.features.name[f].includes(":");
  }

  /** The feature of a reference; the map is made when somebody asks. */
  feature(reference) {
    this.places ??= new Map(Array.from(this.features.name, (_, f) => [this.reference(f), f]));
    return this.places.get(reference);
  }

  /** Find the features that have all words, in themselves or in their view, and the facets. */
  find(words, chosen) {
    const { views, features } = this;
    const shown = new Uint8Array(features.name.length);
    const hits = new Int32Array(this.height).fill(-1); // features shown; -1: nor is the view
    const part = new Uint8Array(this.height); // the view is there for some of its features
    const counts = Object.fromEntries(FACETS.map(([name]) => [name, new Map()]));
    const add = (name, value, n) => counts[name].set(value, (counts[name].get(value) ?? 0) + n);
    const own = Object.keys(this.values);
    const dtypes = new Set((chosen.dtype ?? []).map((name) => this.dtypes.indexOf(name)));
    for (let v = 0; v < this.height; v++) {
      const text = this.viewText[v];
      const rest = words.filter((word) => !text.includes(word));
      const failing = own.filter(
        (name) => chosen[name]?.length && !this.values[name][v].some((x) => chosen[name].includes(x)),
      );
      if (failing.length > 1) continue;
      const wanted = !failing.length;
      let found = 0;
      for (let f = views.first[v]; f < this.end(v); f++) {
        if (rest.length && !rest.every((word) => this.featureText[f].includes(word))) continue;
        if (wanted) add("dtype", this.dtypes[features.dtype[f]], 1);
        if (dtypes.size && !dtypes.has(features.dtype[f])) continue;
        found += 1;
        if (wanted) shown[f] = 1;
      }
      for (const name of own) {
        if (wanted || failing[0] === name) for (const x of this.values[name][v]) add(name, x, found);
      }
      if (wanted && (found || (!rest.length && !dtypes.size && !this.size(v)))) hits[v] = found;
      part[v] = rest.length || dtypes.size ? 1 : 0;
    }
    return { shown, hits, part, counts };
  }

  /** Order the views: as the table is sorted, else those whose names have the words first. */
  order(sort, words) {
    const { views } = this;
    const all = Array.from({ length: this.height }, (_, v) => v);
    const column = sort.replace("-", "");
    const by = {
      name: (a, b) => byText(views.name[a], views.name[b]),
      owner: (a, b) => byText(views.owner[a], views.owner[b]),
      ttl: (a, b) => (views.seconds[a] ?? Infinity) - (views.seconds[b] ?? Infinity) || 0,
      features: (a, b) => this.size(a) - this.size(b),
    }[column];
    if (by) return all.sort(sort.startsWith("-") ? (a, b) => by(b, a) : by);
    if (!words.length) return all;
    const named = (v) => words.every((word) => fold(views.name[v]).includes(word));
    return [...all.filter(named), ...all.filter((v) => !named(v))];
  }
}
