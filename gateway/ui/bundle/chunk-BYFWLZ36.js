import{a,b}from"./chunk-3TDB2UBV.js";import"./chunk-7N7AQLEQ.js";import"./chunk-LHDOWUL2.js";import"./chunk-4L5RI3VG.js";export{b as getWorker,a as jsonDefaults};
