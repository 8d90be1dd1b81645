"""Word lists for the name rules: words of reports, eponyms, first names. All are in lower case."""

from __future__ import annotations

import re

NOT_NAMES = frozenset(
    """
    a an the and or of in on at to for with without by from as is are was were be been has have had not no nor none
    this that these those it its he she his her they their there here per via see all any each both one two three
    four five six seven eight nine ten first second third fourth final other same new old also only more most less
    than then when which who whom whose what where how if but so do does did done can could may might will would
    shall should unknown unavailable anonymous deidentified redacted removed withheld yes na nos ni patient patients
    pt name names surname date dates time birth dob sex gender male female race ethnicity white black asian hispanic
    latino age years year old months days hours address phone telephone fax email mrn ssn number no id case cases
    accession account encounter visit order record medical hospital clinic center centre department dept division
    service services unit institute institution university college school laboratory lab labs laboratories system
    systems health healthcare medicine building floor room street avenue road city state country county zip
    admission discharge location status type types page pages copy copies report reports reported results result
    viewer printed version section sections part parts comment comments note notes addendum amended amendment
    revised preliminary supplemental consultation consult consultant outside material materials referral referred
    referring requesting requested ordering ordered submitting submitted received collected obtained taken taking
    performed procedure procedures operation operative preoperative postoperative pre post intraoperative surgery
    surgical surgeon surgeons physician physicians doctor doctors pathologist pathologists pathology pathologic
    pathological oncologist radiologist urologist attending resident fellow nurse assistant technologist technician
    staff director chief clinician provider practitioner signed signature electronically electronic digitally
    verified approved authenticated reviewed review dictated transcribed interpreted diagnosed examined seen
    finalized issued typed diagnosis diagnoses diagnostic clinical history histories impression indication
    indications information data details description descriptions gross grossly macroscopic macroscopy microscopic
    microscopy histologic histological histology histopathology cytology synoptic summary summaries checklist
    template protocol staging stage staged stages grade grades grading grad tnm ajcc uicc who figo cap icd icdo
    snomed cpt code codes coding codi classification classifications score scores level levels primary secondary
    metastatic metastasis metastases specimen specimens sample samples site sites source tissue tissues block blocks
    slide slides cassette cassettes label labeled labelled labels container containers formalin fixed fresh frozen
    paraffin embedded stain stains stained staining immunohistochemistry immunohistochemical immunostain
    immunostains antibody antibodies ihc positive negative equivocal present absent identified seen evidence
    uninvolved involved involvement invasion invasive infiltrating infiltrative infiltration extension extends
    margin margins resection excision excisional incisional biopsy biopsies core needle fine aspiration lymph node
    nodes nodal lymphatic lymphovascular vascular venous perineural tumor tumors tumour tumours cancer cancers
    neoplasm neoplasms neoplasia mass masses lesion lesions nodule nodules polyp polyps ulcer cyst cysts benign
    malignant malignancy high low moderate moderately poor poorly well differentiated undifferentiated mixed focal
    focally diffuse multifocal extensive minimal mild severe marked acute chronic active inflammation inflammatory
    fibrosis necrosis necrotic hemorrhage hemorrhagic edema mucosa submucosa serosa subserosa muscularis propria
    muscle fat adipose stroma stromal soft connective skin breast lung lungs lobe lobes upper lower middle left
    right bilateral anterior posterior superior inferior lateral medial proximal distal deep superficial radial
    central peripheral apex apical base basal dome wall trigone bladder urinary ureter ureters urethra urethral
    prostate prostatic seminal vesicle vesicles vas deferens kidney renal colon colonic sigmoid rectum rectal
    rectosigmoid cecum cecal appendix ileum ileal ileocecal jejunum duodenum bowel intestine intestines stomach
    gastric antrum cardia fundus pylorus esophagus esophageal liver hepatic gallbladder pancreas spleen omentum
    uterus uterine cervix cervical endometrium endometrial ovary ovaries ovarian fallopian tube tubes vagina vaginal
    vulva adnexa parametrium thyroid parathyroid larynx laryngeal pharynx tongue tonsil oral mouth neck head jaw lip
    nose nasal sinus brain spinal bone marrow rib chest pleura pleural pelvic pelvis iliac obturator inguinal axilla
    axillary sentinel hilar mediastinal subcarinal paratracheal abdomen abdominal peritoneal peritoneum mesentery
    carcinoma adenocarcinoma sarcoma lymphoma melanoma glioma squamous ductal lobular papillary mucinous urothelial
    transitional intestinal cell cells cellular nuclear nucleus mitotic mitoses estrogen progesterone receptor
    receptors her her2 neu ki mib dna rna msi mmr ploidy size weight length width diameter dimension dimensions
    thickness greatest measures measuring measured cm mm gram grams weighs entirely representative serially
    sectioned opened inked ink orientation suture short long superiorly inferiorly designated consists consist
    contains containing shows showing reveals demonstrates identified consistent compatible favor suspicious rule
    out normal unremarkable hyperplasia dysplasia atypical atypia metaplasia reactive small large medium multiple
    single few many several numerous total subtotal partial complete incomplete radical modified simple segmental
    wedge en bloc additional further separate separately above below following previous prior current recent pending
    available applicable specified determined assessed reported known adequate satisfactory unsatisfactory limited
    confirmed confirm please thank thanks dear sincerely regards attention attn cc re subject slices slice piece
    pieces fragment fragments portion portions segment color colour tan white brown red yellow gray grey pink purple
    green blue hemorrhoid firm rubbery irregular smooth round oval cut surface surfaces cystectomy mastectomy
    lumpectomy lobectomy colectomy gastrectomy hysterectomy prostatectomy nephrectomy thyroidectomy laryngectomy
    appendectomy hemicolectomy dissection amputation turbt turb bx fs h&e hematoxylin eosin pas iron afb gms smear
    smears fluid wash washing brushing culture cultures flow cytometry molecular genetic genetics mutation mutations
    testing test tests assay analysis study studies method methods technique quality assurance control controls fda
    approved purposes purpose clia regulated certified performance characteristics developed used use january
    february march april june july august september october november december jan feb mar apr jun jul aug sep sept
    oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun am pm arbor
    elston ellis bloom richardson scarff nottingham gallen gieson neelsen joseph rogers teaching presence personally
    attest certify concur concurs agree agrees agreed discussed conference intradepartmental interdepartmental
    reviewed copies findings finding microscopically evaluation examination examinations exam unit charge cost
    expected copyright inc llc corporation corp company foundation memorial general national regional saint st mt
    north south east west northern southern eastern western american european united states chemotherapy radiation
    radiotherapy therapy treatment treated neoadjuvant adjuvant recurrence recurrent residual my path intra working
    print entire draft accn surg some undefined reporting admit pathologis compliance appropriate acc therefore
    submit sectioning committee nipple noted hosp document discharged elastin touch special seventeen registrar
    reference photo defer ancillary campus completed cytokeratin interface fish indiana steeper th nt consulting sln
    light deeper cross mostly terminal anatomic effective implants dr drs md mds phd tps contributor collect xxx xx
    differentiate donuts donut fibrous egfr te routine occurrence author mx nx hx dx rx tx op po iv mg ml cc
    """.split()  # noqa: SIM905
)
"""Words of reports. One of them ends a name that follows a label or a title."""

# Matches the endings of "carcinoma", "colectomy" and "reactively".
_NOT_NAMES_ENDING = re.compile(
    r"(?:(?<!th)omas|oma|omatous|itis|ectom(?:y|ies)|otomy|ostomy|oscopy|oscopic|ations?|ctions?|sions?|olog(?:y|ies|ist|ists|ic|ical)|"
    r"osis|asis|plas(?:ia|m|ms|tic)|graphy|pathy|cytes?|ical|ially|tely|ively|ated|ized|ised|ified|emia|ness|tomies|"
    r"trophy|trophic|philia|lesional|noid|glandular|tubular|vascular|muscular|nodular|ocular|cular|ebral|enteric|ular)$|^(?:fs|tp|bp)[a-z]$"
)


def no_name(word: str) -> bool:
    """Whether a word cannot be a person's name: it is listed, or has the ending of a medical word."""
    plain = re.sub(r"['\u2019]s?$", "", word.rstrip(".").lower())
    return (
        plain in NOT_NAMES
        or any(part in NOT_NAMES for part in plain.split("-"))
        or bool(_NOT_NAMES_ENDING.search(plain))
    )


EPONYMS = frozenset(
    """
    barrett paget hodgkin lynch crohn gleason dukes duke clark breslow whipple billroth hartmann virchow krukenberg
    ewing wilms kaposi merkel brenner sertoli leydig schwann langerhans langhans reed sternberg burkitt hashimoto
    graves cushing addison bartholin cowper denonvilliers waldeyer rokitansky aschoff lauren borrmann siewert
    bormann nottingham bloom richardson scarff elston ellis masson gomori giemsa ziehl neelsen warthin castleman
    rosai dorfman peutz jeghers gardner turcot cowden fraumeni cowdry brunner paneth kupffer disse glisson bowman
    henle kerckring peyer meckel auerbach meissner hassall hurthle askanazy toker spitz klatskin cloquet rotter
    poupart cooper camper scarpa colles foley robson fuhrman mallory bence jones birt hogg dube von hippel lindau
    recklinghausen sjogren wegener bowen cajal douglas morison bouin carnoy zenker hollande congo wright
    papanicolaou haggitt kikuchi mandard becker ryan miller ann mary joseph
    """.split()  # noqa: SIM905
)
"""Names of things in reports. A person of that name is masked only beside a label or title, not in the whole text."""

FIRST_NAMES = frozenset(
    """
    james john robert michael william david richard charles joseph thomas christopher daniel paul donald george
    kenneth steven edward brian ronald anthony kevin jason matthew gary timothy jose larry jeffrey scott eric
    stephen andrew raymond gregory joshua jerry dennis walter patrick peter harold douglas henry arthur ryan roger
    juan jack albert jonathan justin terry gerald keith samuel willie ralph lawrence nicholas roy benjamin bruce
    brandon adam harry fred wayne louis philip alan carlos jimmy bobby johnny eugene howard russell phillip martin
    jesus shawn stanley leonard nathan manuel francis ernest jeremy vincent alfred edwin jacob theodore frederick
    luis antonio pedro miguel ahmed mohammed muhammad ali omar hassan hans klaus jürgen wolfgang stefan andreas
    thomas pierre jean françois giovanni giuseppe marco ivan vladimir sergei dmitri wei ming hiroshi kenji raj
    sanjay anil rajesh mary patricia linda barbara elizabeth jennifer maria susan margaret dorothy lisa nancy karen
    betty helen sandra donna carol ruth sharon michelle laura sarah kimberly deborah jessica shirley cynthia angela
    melissa brenda amy anna rebecca kathleen pamela martha debra amanda stephanie carolyn christine marie janet
    catherine ann frances joyce diane alice julie heather teresa doris gloria evelyn jean cheryl mildred katherine
    joan ashley judith janice kelly nicole judy christina kathy theresa beverly denise tammy irene jane lori rachel
    marilyn andrea kathryn louise sara anne jacqueline wanda bonnie julia lois tina phyllis norma paula diana annie
    lillian emily robin peggy emma jill olivia sophia hannah claire fatima aisha priya yuki mei ingrid ursula petra
    sabine monika renate greta olga natasha svetlana elena carmen rosa guadalupe isabella francesca giulia chantal
    """.split()  # noqa: SIM905
)
"""Common first names, without those that are also words of reports (Mark, Grace, Frank, Victor)."""

SURNAMES_TOO = frozenset(
    """
    white black brown green gray grey cross short long small page
    pages church park may march light day deep young wall light
    bishop parks street north west low rose first person head neck root ink foot medina light stone wood hill college
    ellis joseph rogers
    """.split()  # noqa: SIM905
)
"""Words of reports that are also surnames. They count as names after a first name or at the end of a phrase."""
