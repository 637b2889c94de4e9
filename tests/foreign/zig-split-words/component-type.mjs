// Makes component-type.bin, the custom section that tells which world of the contract the module implements:
//
//     npm install @bytecodealliance/jco@1.35.0 && node component-type.mjs ../../../wit
//
// `wasm-tools component embed` does the same. The section is made once, and again only if a file in wit/ changes.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { componentEmbed } from "@bytecodealliance/jco";

const folder = process.argv[2];
const files = readdirSync(folder).filter((name) => name.endsWith(".wit")).sort();
const [first, ...others] = files.map((name) => readFileSync(`${folder}/${name}`, "utf8"));
const wit = [first, ...others.map((text) => text.replace(/^package .*;$/m, ""))].join("\n");
const nothing = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0); // a module without a section
const module = await componentEmbed({ binary: nothing, witSource: wit, world: "transform-plugin" });
writeFileSync("component-type.bin", module.subarray(nothing.length));
